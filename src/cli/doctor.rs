//! `waybill doctor`: everything that an installation stands on, looked at once: what is wrong, and which command
//! mends it. Nothing is changed.

mod broker;
mod certificate;
mod database;
mod finding;
mod wire;
mod work;

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use self::finding::{Finding, Findings, Verdict};
use super::{
    Failure, Task,
    clean::clean,
    json,
    out::{self, Colour, Paint},
    settings::SettingArgs,
};
use crate::config::{Config, Entry, retry_horizon};

/// Looks at databases, broker, certificates and limits, and says what is wrong and what mends it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line begins with a verdict:
  OK     as it should be
  WARN   works now, and needs a look: the line below says which command to begin with
  BAD    does not work, or can lose something; the exit code is 1

Run it with the configuration of the processes. It changes nothing.

Examples:
  waybill doctor
  waybill doctor --config waybill.toml --format json")]
pub(crate) struct Args {
    /// `json`: one object with all findings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What to look at.
#[derive(Debug)]
pub(crate) struct Visit {
    config: Config,
    entries: Vec<Entry>,
    format: Format,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let loaded = self.settings.load()?;
        Ok(Task::Doctor(Box::new(Visit {
            config: loaded.config,
            entries: loaded.entries,
            format: self.format,
        })))
    }
}

impl Visit {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut findings = Findings::default();
        database::look(&self.config, &mut findings).await;
        broker::look(&self.config, &mut findings).await;
        wire::look(&self.config, &mut findings);
        certificate::look(&self.entries, &mut findings);
        inbox(&self.config, &mut findings);
        let findings = findings.all();
        let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        match self.format {
            Format::Text => as_text(&findings, Paint::of_stdout())?,
            Format::Json => out::text(&json::pretty(&as_json(worst, &findings)))?,
        }
        Ok(if worst == Verdict::Bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// A configuration with too short a window is refused when it is read, so that there is always some room.
fn inbox(config: &Config, findings: &mut Findings) {
    let [window, horizon] = [config.inbox_retention, retry_horizon(config)].map(humantime::format_duration);
    let what =
        format!("a handled message is remembered for {window}, and can come again for {horizon} at most");
    findings.ok("inbox.retention", what);
}

fn as_text(findings: &[Finding], paint: Paint) -> Result<(), Failure> {
    for Finding { verdict, about, what, mend } in findings {
        let colour = match verdict {
            Verdict::Ok => Colour::Good,
            Verdict::Warn => Colour::Warning,
            Verdict::Bad => Colour::Bad,
        };
        let verdict = paint.paint(colour, &format!("{:<5}", verdict.word()));
        out::text(&format!("{verdict} {}: {}", clean(about), clean(what)))?;
        if !mend.is_empty() {
            out::text(&format!("      → {}", clean(mend)))?;
        }
    }
    Ok(())
}

fn as_json(worst: Verdict, findings: &[Finding]) -> serde_json::Value {
    let findings = findings.iter().map(|Finding { verdict, about, what, mend }| {
        json::filled(json!({ "verdict": verdict.word(), "about": about, "what": what, "mend": mend }))
    });
    json!({ "verdict": worst.word(), "findings": findings.collect::<Vec<_>>() })
}
