//! `waybill top`: what is going on, on a live screen: rates, what waits, sagas by state, queues.

mod look;
mod screen;

use std::{
    io::{IsTerminal as _, stdout},
    process::ExitCode,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers},
};
use tokio::{sync::mpsc, time::sleep};

use self::{look::Look, screen::Screen};
use super::{Failure, Task, out, settings::SettingArgs};
use crate::config::Config;

/// Shows what is going on, on a live screen: rates, what waits, sagas by state, queues
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It asks databases and broker, with the configuration of the processes, so that it sees the whole installation.
`q` quits.

Examples:
  waybill top
  waybill top --once
  waybill top --config waybill.toml --interval 500ms")]
pub(crate) struct Args {
    /// Print one frame as plain text and end; rates are those of one interval
    #[arg(long)]
    once: bool,
    /// Pause between two looks, with its unit
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    settings: SettingArgs,
}

fn interval(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(100)..=Duration::from_hours(1);
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if allowed.contains(&interval) { Ok(interval) } else { Err("is not from 100ms to 1h".to_owned()) }
}

/// What to look at, and how.
#[derive(Debug)]
pub(crate) struct Work {
    config: Config,
    once: bool,
    interval: Duration,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let Self { once, interval, settings } = self;
        if !once && !stdout().is_terminal() {
            return Err(Failure::usage(
                "standard output is no terminal; `waybill top --once` prints one frame",
            ));
        }
        Ok(Task::Top(Box::new(Work { config: settings.load()?.config, once, interval })))
    }
}

impl Work {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut look = Look::new(&self.config);
        let mut screen = Screen::new(self.interval);
        screen.add(look.look().await);
        if self.once {
            sleep(self.interval).await;
            screen.add(look.look().await);
            out::text(&screen.as_text())?;
        } else {
            let terminal =
                ratatui::try_init().map_err(|error| Failure::other(format!("terminal: {error}")))?;
            let shown = self.live(terminal, &mut screen, &mut look).await;
            ratatui::restore();
            shown.map_err(|error| Failure::other(format!("terminal: {error}")))?;
        }
        look.close().await;
        Ok(ExitCode::SUCCESS)
    }

    async fn live(
        &self,
        mut terminal: DefaultTerminal,
        screen: &mut Screen,
        look: &mut Look<'_>,
    ) -> std::io::Result<()> {
        let mut events = events();
        loop {
            terminal.draw(|frame| screen.draw(frame))?;
            let next = async {
                sleep(self.interval).await;
                look.look().await
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Key(key)) if quits(key) => return Ok(()),
                    Some(_) => {}
                    None => return Ok(()),
                },
                snapshot = next => screen.add(snapshot),
            }
        }
    }
}

/// What is typed, read by a thread of its own that ends with the process.
fn events() -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The terminal is raw: Ctrl-C is a key like others.
fn quits(key: KeyEvent) -> bool {
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || key.code == KeyCode::Char('c') && with_control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_quit() {
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        assert!(quits(key(KeyCode::Char('q'))) && quits(key(KeyCode::Esc)));
        assert!(quits(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!quits(key(KeyCode::Char('c'))));
    }
}
