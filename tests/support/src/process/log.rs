//! What a process writes to its standard error, kept line by line, and in a file where one is wanted.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::ChildStderr,
    task::JoinHandle,
};

type Lines = Arc<Mutex<Vec<String>>>;

#[derive(Debug)]
pub(super) struct Log {
    lines: Lines,
    reading: JoinHandle<()>,
}

impl Log {
    /// Reads until the process closes its end.
    pub(super) fn follow(stderr: ChildStderr, mut copy: Option<File>) -> Self {
        let lines = Lines::default();
        let kept = Arc::clone(&lines);
        let reading = tokio::spawn(async move {
            let mut read = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = read.next_line().await {
                if let Some(file) = &mut copy {
                    writeln!(file, "{line}").expect("the log can be written");
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { lines, reading }
    }

    /// Whether the process has closed its end.
    pub(super) fn is_over(&self) -> bool {
        self.reading.is_finished()
    }

    /// Everything so far.
    pub(super) fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Everything, after the process has closed its end.
    pub(super) async fn whole(&mut self) -> Vec<String> {
        (&mut self.reading).await.expect("reading does not panic");
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
