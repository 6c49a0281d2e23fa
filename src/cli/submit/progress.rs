//! Shows on standard error that something happens: a bar on a terminal, elsewhere a line now and then.

use std::{
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::tally::Tally;

const EVERY: Duration = Duration::from_secs(5);
const BAR: &str = "{bar:30} {pos}/{len}  {msg}";
const SPINNER: &str = "{spinner} {pos}  {msg}";

/// The progress of one run.
pub(super) struct Progress {
    /// Absent when nobody looks on.
    bar: Option<ProgressBar>,
    last: Instant,
    total: Option<usize>,
    wait: bool,
}

impl Progress {
    pub(super) fn new(total: Option<usize>, wait: bool) -> Self {
        let bar = stderr().is_terminal().then(|| match total {
            Some(total) => styled(ProgressBar::new(total as u64), BAR),
            None => styled(ProgressBar::new_spinner(), SPINNER),
        });
        Self { bar, last: Instant::now(), total, wait }
    }

    /// Call it after every change; it draws as often as is useful.
    pub(super) fn show(&mut self, tally: &Tally) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.done(tally));
            bar.set_message(text(tally, self.wait));
        } else if self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
            eprintln!("{}{of} done; {}", self.done(tally), text(tally, self.wait));
        }
    }

    /// A line above the bar.
    pub(super) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Prints to standard output without disturbing the bar.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn done(&self, tally: &Tally) -> u64 {
        let accepted =
            if self.wait { tally.ends() + tally.unfinished } else { tally.accepted + tally.duplicates };
        accepted + tally.rejections()
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    // The templates are constants; were one wrong, the plain bar would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}

fn text(tally: &Tally, wait: bool) -> String {
    let ended = if wait { format!(", ended {}", tally.ends()) } else { String::new() };
    let accepted = tally.accepted + tally.duplicates;
    format!("accepted {accepted}, rejected {}{ended}", tally.rejections())
}
