//! What a run has found: for the terminal, and as a page with plots.

use std::{fmt::Write, fs, path::Path};

use anyhow::Result;
use comfy_table::{Table, presets};

use crate::plot::{self, Chart};

/// A figure that is to be reached.
#[derive(Clone, Debug)]
pub struct Goal {
    pub(crate) what: String,
    pub(crate) wanted: Wanted,
    /// Nothing where it was not measured in this run.
    pub(crate) reached: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

/// A part of the page: a table, some words, a picture.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) text: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) charts: Vec<Chart>,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of its file, without the ending.
    pub name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) introduction: String,
    pub(crate) goals: Vec<Goal>,
    pub(crate) sections: Vec<Section>,
    /// What did not end as it should, in words: its figures are worth nothing then.
    pub problems: Vec<String>,
}

impl Goal {
    /// What it is about.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What this run has reached.
    pub fn reached(&self) -> Option<f64> {
        self.reached
    }

    fn row(&self) -> Vec<String> {
        let (wanted, met) = match self.wanted {
            Wanted::AtLeast(least) => (format!("≥ {}", shown(least)), self.reached.map(|r| r >= least)),
            Wanted::AtMost(most) => (format!("≤ {}", shown(most)), self.reached.map(|r| r <= most)),
        };
        let met = met.map_or("–", |met| if met { "yes" } else { "no" });
        vec![self.what.clone(), wanted, maybe(self.reached), met.to_owned()]
    }
}

impl Report {
    /// The figures to reach.
    pub fn goals(&self) -> &[Goal] {
        &self.goals
    }

    /// Every table as it is printed, with its title.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, &[Vec<String>])> {
        self.sections.iter().map(|section| (section.title, section.rows.as_slice()))
    }

    fn goal_section(&self) -> Option<Section> {
        let columns = ["what", "wanted", "reached", "met"].map(str::to_owned).to_vec();
        let rows: Vec<_> = self.goals.iter().map(Goal::row).collect();
        let text = String::new();
        let section = Section { title: "Figures to reach", text, columns, rows, charts: Vec::new() };
        (!section.rows.is_empty()).then_some(section)
    }

    fn parts(&self) -> impl Iterator<Item = Section> {
        self.goal_section().into_iter().chain(self.sections.clone())
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for section in self.parts() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(section.columns.clone());
            table.add_rows(section.rows.clone());
            let _ = writeln!(text, "\n{}\n{}", section.title, table.trim_fmt());
        }
        for problem in &self.problems {
            let _ = writeln!(text, "\nNOT RIGHT: {problem}");
        }
        text
    }

    /// Writes the page and its pictures to a folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut page = format!("# {}\n\n{}\n", self.title, self.introduction);
        for problem in &self.problems {
            let _ = writeln!(page, "\n**Not right:** {problem}");
        }
        for section in self.parts() {
            let _ = write!(page, "\n## {}\n\n", section.title);
            if !section.text.is_empty() {
                let _ = writeln!(page, "{}\n", section.text);
            }
            page += &markdown(&section.columns, &section.rows);
            for chart in &section.charts {
                let file = format!("{}_{}.svg", self.name, chart.name);
                plot::draw(&folder.join(&file), chart).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
                let _ = writeln!(page, "\n![{}]({file})", chart.title);
            }
        }
        Ok(fs::write(folder.join(format!("{}.md", self.name)), page)?)
    }
}

fn markdown(columns: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: Vec<String> =
        (0..columns.len()).map(|n| if n == 0 { "---" } else { "---:" }.to_owned()).collect();
    let rows = rows.iter().map(|row| line(row)).collect::<String>();
    format!("{}{}{rows}", line(columns), line(&rule))
}

/// A figure with as many digits as it is worth; thousands apart.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => apart(&format!("{value:.0}")),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The same, or a dash.
pub(crate) fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), shown)
}

fn apart(digits: &str) -> String {
    let first = digits.len() % 3;
    let mut groups = vec![digits[..first].to_owned()];
    groups.extend(
        digits.as_bytes()[first..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned()),
    );
    groups.join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Goal, Wanted, shown};

    #[test]
    fn a_figure_has_the_digits_that_it_is_worth() {
        let shown: Vec<String> = [0.349, 12.34, 123.4, 1_234.5, 123_456.0, 1_234_567.0].map(shown).to_vec();
        assert_eq!(shown, ["0.35", "12.3", "123", "1 234", "123 456", "1 234 567"]);
    }

    #[test]
    fn a_goal_is_met_or_not_or_was_not_measured() {
        let row = |wanted, reached| Goal { what: "x".to_owned(), wanted, reached }.row()[1..].join(" ");
        assert_eq!(row(Wanted::AtLeast(7.0), Some(8.1)), "≥ 7.00 8.10 yes");
        assert_eq!(row(Wanted::AtMost(2.0), Some(2.5)), "≤ 2.00 2.50 no");
        assert_eq!(row(Wanted::AtMost(2.0), None), "≤ 2.00 – –");
    }
}
