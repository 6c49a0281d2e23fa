//! What processes have used, by `/proc`.

use std::{collections::BTreeMap, fs, path::Path};

/// `USER_HZ`, in which `/proc` counts: 100 on every platform of Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// A line of `/proc/PID/stat`, as far as it concerns us.
struct Stat {
    parent: u32,
    /// CPU seconds of its own.
    own: f64,
    /// Of those below it that have ended and were waited for.
    ended: f64,
}

/// CPU seconds of a process, without those below it.
pub(crate) fn seconds(id: u32) -> Option<f64> {
    Some(stat(id)?.own)
}

/// CPU seconds of a process and all below it, of those as well that have ended and were waited for.
pub(crate) fn tree_seconds(root: u32) -> f64 {
    let all = processes();
    let belongs = |id: u32| {
        std::iter::successors(Some(id), |id| all.get(id).map(|stat| stat.parent)).any(|id| id == root)
    };
    all.iter().filter(|(id, _)| belongs(**id)).map(|(_, stat)| stat.own + stat.ended).sum()
}

/// The process that started it.
pub(crate) fn parent(id: u32) -> Option<u32> {
    Some(stat(id)?.parent)
}

/// Resident now, and the most that ever was; MB.
pub(crate) fn memory(id: u32) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kib| kib * 1_024.0 / 1e6)
    };
    Some((value("VmRSS:")?, value("VmHWM:")?))
}

/// The process whose id a script of `deploy/scripts` keeps in the folder of a server.
pub(crate) fn server_in(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("pid")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn processes() -> BTreeMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| Some((id, stat(id)?))).collect()
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold spaces and brackets; the fields after it count from the third.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / TICKS);
    let (own, ended) = (seconds(11)? + seconds(12)?, seconds(13)? + seconds(14)?);
    Some(Stat { parent: fields.get(1)?.parse().ok()?, own, ended })
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, id},
        time::{Duration, Instant},
    };

    use super::{memory, parent, tree_seconds};

    #[test]
    fn what_a_child_has_used_counts_while_it_runs_and_after_it() {
        let before = tree_seconds(id());
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        assert_eq!(parent(child.id()), Some(id()));
        let begun = Instant::now();
        while tree_seconds(child.id()) < 0.2 && begun.elapsed() < Duration::from_mins(1) {}
        let used = tree_seconds(child.id());
        assert!(used >= 0.2, "{used}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree_seconds(id()) >= before + used);
        let (now, most) = memory(id()).unwrap();
        assert!(now > 0.5 && most >= now);
    }
}
