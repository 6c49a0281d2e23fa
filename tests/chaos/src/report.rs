//! What a run has shown, as a table and a verdict.

use std::{collections::BTreeMap, fmt};

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};

use crate::{
    audit::{Audit, Wrong},
    settings::Settings,
};

/// Findings of one kind that are printed.
const SHOWN: usize = 20;

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    /// What was run.
    pub settings: Settings,
    /// How many faults of each kind there were.
    pub faults: BTreeMap<&'static str, u64>,
    /// Requests that clients have sent.
    pub attempted: usize,
    /// Those with a receipt.
    pub acknowledged: usize,
    /// From the end of the last fault to the end of the last dispatch, in seconds.
    pub settled: u64,
    /// What the auditor says.
    pub audit: Audit,
    /// Processes that ended when nobody asked them to, or not as they were asked to.
    pub broken: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong and the run was more than nothing.
    pub fn passed(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Why it has not passed.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for wrong in Wrong::ALL.into_iter().filter(|wrong| self.count(*wrong) > 0) {
            reasons.push(format!("{} {}:", self.count(wrong), name(wrong)));
            let findings = self.audit.findings.iter().filter(|finding| finding.wrong == wrong);
            reasons.extend(findings.take(SHOWN).map(|finding| format!("  {}", finding.what)));
        }
        reasons.extend(self.broken.iter().cloned());
        let (faults, least) = (self.faults.values().sum::<u64>(), self.settings.least_faults());
        if faults < least {
            reasons
                .push(format!("only {faults} faults happened, {least} are the least that prove something"));
        }
        for what in ["process", "broker", "database", "network"] {
            if !self.faults.keys().any(|kind| kind.contains(what)) {
                reasons.push(format!("no fault concerned the {what}"));
            }
        }
        let (acknowledged, least) = (self.acknowledged as u64, self.settings.least_acknowledged());
        if acknowledged < least {
            reasons.push(format!(
                "only {acknowledged} were acknowledged, {least} are the least that prove something"
            ));
        }
        reasons
    }

    fn count(&self, wrong: Wrong) -> usize {
        self.audit.findings.iter().filter(|finding| finding.wrong == wrong).count()
    }
}

fn name(wrong: Wrong) -> String {
    format!("{wrong:?}").to_lowercase()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        let mut row = |what: &str, count: u64| {
            table.add_row([what.to_owned(), count.to_string()]);
        };
        row("seed", self.settings.seed);
        row("seconds", self.settings.seconds);
        row("faults", self.faults.values().sum());
        for (kind, count) in &self.faults {
            row(&format!("  {kind}"), *count);
        }
        row("attempted", self.attempted as u64);
        row("acknowledged", self.acknowledged as u64);
        for (end, count) in &self.audit.ended {
            row(&format!("  ended {end}"), *count as u64);
        }
        row("seconds until all had ended", self.settled);
        row("recovered", self.audit.recovered as u64);
        for wrong in Wrong::ALL {
            row(&name(wrong), self.count(wrong) as u64);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")
    }
}
