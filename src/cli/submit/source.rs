//! Where the many come from. A file is checked whole before its first line goes out; standard input may
//! never end, so it is read as it is sent.

use std::path::Path;

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc,
};

use super::item::{self, Item};
use crate::cli::{Failure, exit};

/// Items read ahead of what is sent.
const AHEAD: usize = 256;
/// Bad lines that are named, at most.
const NAMED: usize = 20;

/// A stream of items. The first error ends it.
pub(super) struct Source {
    pub(super) items: mpsc::Receiver<Result<Item, Failure>>,
    /// How many will come, where that is known.
    pub(super) total: Option<usize>,
}

/// Opens a file, or standard input for `-`.
pub(super) async fn open(path: &Path) -> Result<Source, Failure> {
    let (sender, items) = mpsc::channel(AHEAD);
    if path == Path::new("-") {
        tokio::spawn(read_stdin(sender));
        return Ok(Source { items, total: None });
    }
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let all = check(&text).map_err(|details| Failure {
        code: exit::USAGE,
        message: format!("{}: nothing was sent, because lines are malformed", path.display()),
        details,
    })?;
    let total = Some(all.len());
    tokio::spawn(async move {
        for item in all {
            // The receiver is gone when the command has ended early.
            if sender.send(Ok(item)).await.is_err() {
                return;
            }
        }
    });
    Ok(Source { items, total })
}

/// Every item of the text, or what is wrong with its lines.
fn check(text: &str) -> Result<Vec<Item>, Vec<String>> {
    let (mut items, mut errors) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        match item::parse(index + 1, line) {
            Some(Ok(item)) => items.push(item),
            Some(Err(error)) => errors.push(error),
            None => {}
        }
    }
    if errors.is_empty() {
        return Ok(items);
    }
    if errors.len() > NAMED {
        let more = errors.len() - NAMED;
        errors.truncate(NAMED);
        errors.push(format!("and {more} more"));
    }
    Err(errors)
}

async fn read_stdin(sender: mpsc::Sender<Result<Item, Failure>>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut number = 0;
    loop {
        number += 1;
        let item = match lines.next_line().await {
            Ok(Some(line)) => item::parse(number, &line),
            Ok(None) => return,
            Err(error) => Some(Err(format!("line {number}: {error}"))),
        };
        let Some(item) = item else { continue };
        let bad = item.is_err();
        let item = item.map_err(|what| Failure::usage(format!("standard input: {what}")));
        if sender.send(item).await.is_err() || bad {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    const GOOD: &str = r#"{"order_id":"o","destination_code":"D","parcel_count":1}"#;

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let text = format!("{GOOD}\n\n{GOOD}\r\n");
        let lines: Vec<usize> = check(&text).unwrap().iter().map(|item| item.line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn every_bad_line_is_named_up_to_a_limit() {
        let errors = check(&format!("{GOOD}\nx\n{GOOD}\ny\n")).unwrap_err();
        assert!(errors[0].starts_with("line 2: ") && errors[1].starts_with("line 4: "), "{errors:?}");
        let errors = check(&"x\n".repeat(25)).unwrap_err();
        assert_eq!((errors.len(), errors[20].as_str()), (21, "and 5 more"));
    }
}
