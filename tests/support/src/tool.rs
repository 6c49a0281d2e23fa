//! Programs that a test needs and a bare machine lacks: scripts in deploy/scripts fetch or build them.

use std::process::{Output, Stdio};

use tokio::process::Command;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/scripts");

/// What the script prints: the path of a program. `None` where that cannot be had, which the script says with the
/// word SKIPPED and the exit code 3.
pub async fn tool(script: &str, arguments: &[&str]) -> Option<String> {
    let mut script = Command::new(format!("{SCRIPTS}/{script}"));
    let Output { status, stdout, stderr } =
        script.args(arguments).stdin(Stdio::null()).output().await.expect("a script to run");
    eprint!("{}", String::from_utf8_lossy(&stderr));
    assert!(matches!(status.code(), Some(0 | 3)), "{status}");
    status.success().then(|| String::from_utf8_lossy(&stdout).trim_end().to_owned())
}
