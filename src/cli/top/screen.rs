//! The screen of `waybill top`: snapshots in, a frame out. It asks nobody.

use std::{collections::VecDeque, time::Duration};

use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table},
};
use waybill_messaging::queues::Counted;

use super::look::{Outbox, Sagas, Snapshot};
use crate::cli::{
    clean::clean,
    operate::{age, shown},
};

/// Rates that are kept for the curve.
const HISTORY: usize = 200;
/// Columns of a frame on paper, at least.
const PAPER: u16 = 100;
/// A row that is due for longer is not just passing through.
const SLOW: Duration = Duration::from_mins(1);

/// What is shown.
pub(super) struct Screen {
    interval: Duration,
    now: Option<Snapshot>,
    /// Accepted and ended, a second, where two snapshots tell.
    rates: Option<(f64, f64)>,
    /// Accepted a second, the newest last.
    curve: VecDeque<u64>,
}

impl Screen {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, now: None, rates: None, curve: VecDeque::new() }
    }

    /// Takes the next snapshot.
    pub(super) fn add(&mut self, next: Snapshot) {
        self.rates = rates(self.now.as_ref(), &next);
        if let Some((accepted, _)) = self.rates {
            if self.curve.len() == HISTORY {
                self.curve.pop_front();
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate, not negative"
            )]
            self.curve.push_back(accepted.round() as u64);
        }
        self.now = Some(next);
    }

    /// The frame on paper, as high as it has to be.
    pub(super) fn as_text(&self) -> String {
        let height = self.now.as_ref().map_or(1, |now| parts(now).iter().sum());
        // As wide as what has to be read in full.
        let troubles = self.now.iter().flat_map(|now| &now.troubles);
        let widest =
            troubles.map(|trouble| u16::try_from(Line::raw(clean(trouble)).width()).unwrap_or(PAPER)).max();
        let width = widest.unwrap_or_default().clamp(PAPER, 1_000);
        let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
        // Drawing into memory cannot fail.
        let Ok(_) = terminal.draw(|frame| self.draw(frame));
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width));
        let line =
            |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
        rows.map(|row| line(row).trim_end().to_owned() + "\n").collect()
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let Some(now) = &self.now else { return };
        let parts = parts(now).map(Constraint::Length);
        let [title, dispatches, curve, outboxes, queues, troubles] =
            Layout::vertical(parts).areas(frame.area());
        let words = format!(
            "waybill top  {}  every {}, q quits",
            shown(now.at),
            humantime::format_duration(self.interval)
        );
        frame.render_widget(Paragraph::new(Line::styled(words, Modifier::BOLD)), title);
        self.draw_dispatches(frame, dispatches, now.sagas);
        // Newest at the right, as many as there is room for.
        let room = usize::from(curve.width);
        let newest: Vec<u64> =
            self.curve.iter().copied().skip(self.curve.len().saturating_sub(room)).collect();
        frame.render_widget(Sparkline::default().data(newest), curve);
        draw_outboxes(frame, outboxes, &now.outboxes);
        draw_queues(frame, queues, &now.queues);
        let lines: Vec<_> =
            now.troubles.iter().map(|trouble| Line::styled(clean(trouble).into_owned(), bad())).collect();
        frame.render_widget(Paragraph::new(lines), troubles);
    }

    fn draw_dispatches(&self, frame: &mut Frame<'_>, area: Rect, sagas: Option<Sagas>) {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}/s"));
        let mut spans = vec![
            Span::raw(format!("accepted {}", rate(self.rates.map(|rates| rates.0)))),
            Span::raw(format!("   ended {}", rate(self.rates.map(|rates| rates.1)))),
        ];
        if let Some(Sagas { running, compensating, stuck, parked }) = sagas {
            spans.push(Span::raw(format!("   running {running}   compensating {compensating}")));
            spans.push(Span::styled(
                format!("   stuck {stuck}"),
                if stuck > 0 { bad() } else { Style::new() },
            ));
            spans.push(Span::styled(
                format!("   parked {parked}"),
                if parked > 0 { warning() } else { Style::new() },
            ));
        }
        frame.render_widget(Paragraph::new(Line::from(spans)).block(block("Dispatches")), area);
    }
}

/// Heights: title, dispatches, curve, outboxes, queues, troubles.
fn parts(now: &Snapshot) -> [u16; 6] {
    let rows = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX / 8);
    [1, 2, 2, 2 + rows(now.outboxes.len()), 2 + rows(now.queues.len()), rows(now.troubles.len())]
}

/// What ended is what was accepted and is not open any more.
fn rates(before: Option<&Snapshot>, now: &Snapshot) -> Option<(f64, f64)> {
    let (accepted, time) = now.accepted?;
    let grown = now.sagas?.open() - before?.sagas?.open();
    let seconds = time.as_secs_f64();
    if seconds <= 0.0 {
        return None;
    }
    let ended = i64::try_from(accepted).unwrap_or(i64::MAX).saturating_sub(grown).max(0);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    Some((accepted as f64 / seconds, ended as f64 / seconds))
}

fn draw_outboxes(frame: &mut Frame<'_>, area: Rect, outboxes: &[Outbox]) {
    let rows = outboxes.iter().map(|Outbox { database, depth, dead_letters }| {
        let attention = |is_wrong: bool| if is_wrong { bad() } else { Style::new() };
        Row::new([
            Cell::new(*database),
            Cell::new(depth.rows.to_string()),
            Cell::new(depth.ready.to_string()),
            Cell::new(depth.delayed.to_string()),
            Cell::new(depth.leased.to_string()),
            Cell::new(depth.parked.to_string()).style(attention(depth.parked > 0)),
            Cell::new(age(depth.oldest)).style(attention(depth.oldest > SLOW)),
            Cell::new(dead_letters.to_string()).style(attention(*dead_letters > 0)),
        ])
    });
    let header = ["Outbox", "Rows", "Ready", "Delayed", "Leased", "Parked", "Oldest due", "Dead letters"];
    let widths = [16, 9, 9, 9, 9, 9, 13, 13].map(Constraint::Length);
    frame.render_widget(table(rows, widths, header), area);
}

fn draw_queues(frame: &mut Frame<'_>, area: Rect, queues: &[Counted]) {
    let rows = queues.iter().map(|Counted { name, counts }| match counts {
        Some((ready, consumers)) => {
            let nobody = if *consumers == 0 { warning() } else { Style::new() };
            Row::new([
                Cell::new(clean(name).into_owned()),
                Cell::new(ready.to_string()),
                Cell::new(consumers.to_string()).style(nobody),
            ])
        }
        None => {
            Row::new([Cell::new(clean(name).into_owned()), Cell::new("missing").style(bad()), Cell::new("-")])
        }
    });
    frame.render_widget(
        table(rows, [16, 9, 9].map(Constraint::Length), ["Queue", "Ready", "Consumers"]),
        area,
    );
}

fn table<'a, const N: usize>(
    rows: impl Iterator<Item = Row<'a>>,
    widths: [Constraint; N],
    header: [&'static str; N],
) -> Table<'a> {
    Table::new(rows, widths).header(Row::new(header).style(Modifier::BOLD)).block(block(""))
}

fn block(title: &'static str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title)
}

fn bad() -> Style {
    Style::new().fg(Color::Red)
}

fn warning() -> Style {
    Style::new().fg(Color::Yellow)
}

#[cfg(test)]
mod tests {
    use waybill_messaging::{Timestamp, outbox::Depth};

    use super::*;

    fn snapshot(open: i64, accepted: Option<(u64, Duration)>) -> Snapshot {
        let depth =
            Depth { rows: 7, ready: 3, oldest: Duration::from_secs(95), parked: 2, ..Depth::default() };
        let counted = |name: &str, counts| Counted { name: name.to_owned(), counts };
        Snapshot {
            at: Timestamp::from_micros(0),
            accepted,
            outboxes: vec![Outbox { database: "common", depth, dead_letters: 4 }],
            sagas: Some(Sagas { running: open, stuck: 1, ..Sagas::default() }),
            queues: vec![counted("saga", Some((12, 1))), counted("order", None)],
            troubles: vec!["database payment: away\u{1b}[31m".to_owned()],
        }
    }

    #[test]
    fn a_frame_shows_rates_outboxes_queues_and_troubles() {
        let mut screen = Screen::new(Duration::from_secs(2));
        screen.add(snapshot(10, None));
        let long = "database payment: ".to_owned() + &"away ".repeat(30) + "at last";
        screen.add(Snapshot { troubles: vec![long.clone()], ..snapshot(10, None) });
        assert!(screen.as_text().lines().any(|line| line == long), "in full: {}", screen.as_text());
        screen.add(snapshot(10, None));
        assert!(screen.as_text().contains("accepted -   ended -   running 10"), "{}", screen.as_text());
        screen.add(snapshot(15, Some((20, Duration::from_secs(2)))));
        let text = screen.as_text();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = text.lines().map(words).collect();
        for expected in [
            "waybill top 1970-01-01T00:00:00.000Z every 2s, q quits",
            "accepted 10.0/s ended 7.5/s running 15 compensating 0 stuck 1 parked 0",
            "common 7 3 0 0 2 1 min 35 s 4",
            "saga 12 1",
            "order missing -",
            "database payment: away\u{fffd}[31m",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}:\n{text}");
        }
    }

    #[test]
    fn what_needs_a_person_is_red() {
        let mut screen = Screen::new(Duration::from_secs(2));
        screen.add(snapshot(10, None));
        let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let red: String = buffer
            .content()
            .iter()
            .filter(|cell| cell.fg == Color::Red)
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        let words: Vec<_> = red.split_whitespace().collect();
        for expected in ["stuck", "2", "4", "missing", "database"] {
            assert!(words.iter().any(|word| word.contains(expected)), "{expected}: {words:?}");
        }
    }

    #[test]
    fn a_screen_too_small_for_everything_is_drawn_all_the_same() {
        let mut screen = Screen::new(Duration::from_secs(2));
        screen.add(snapshot(10, None));
        let mut terminal = Terminal::new(TestBackend::new(10, 3)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
    }
}
