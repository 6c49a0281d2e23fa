//! `waybill config`: what holds, and where it was set.

use serde_json::json;

use super::{Failure, Task, clean::clean, out, settings::SettingArgs};
use crate::config::{Entry, markdown, sample};

/// Prints every setting with its value and where that comes from; passwords are masked
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill config
  waybill config --config waybill.toml --json
  waybill config --toml > waybill.toml")]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingArgs,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// A TOML file with every setting explained and commented out
    #[arg(long, conflicts_with = "json")]
    toml: bool,
    /// The table of the README
    #[arg(long, hide = true)]
    markdown: bool,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        if self.markdown {
            return Ok(Task::Print(markdown()));
        }
        if self.toml {
            return Ok(Task::Print(sample()));
        }
        let entries = self.settings.load()?.entries;
        Ok(Task::Print(if self.json { as_json(&entries) } else { as_table(&entries) }))
    }
}

fn as_table(entries: &[Entry]) -> String {
    let mut table = out::table(&["Key", "Value", "Source", "Environment variable", "What it is"]);
    for Entry { setting, text, source } in entries {
        let value = setting.kind.shown(text);
        table.add_row([setting.key, &clean(&value), &clean(&source.to_string()), setting.env, setting.doc]);
    }
    table.trim_fmt()
}

fn as_json(entries: &[Entry]) -> String {
    let settings: serde_json::Map<_, _> = entries
        .iter()
        .map(|Entry { setting, text, source }| {
            let value = json!({
                "value": setting.kind.shown(text),
                "source": source.layer(),
                "environment": setting.env,
                "documentation": setting.doc,
            });
            (setting.key.to_owned(), value)
        })
        .collect();
    super::json::pretty(&settings.into())
}

#[cfg(test)]
mod tests {
    use super::{as_json, as_table};
    use crate::config::{Inputs, load};

    #[test]
    fn no_password_is_printed() {
        let environment = vec![("WAYBILL_AMQP_URL".into(), "amqp://u:hunter2@h".into())];
        let entries = load(&Inputs { environment, ..Inputs::default() }).unwrap().entries;
        for text in [as_table(&entries), as_json(&entries)] {
            assert!(text.contains("amqp://u:***@h") && !text.contains("hunter2"), "{text}");
        }
    }
}
