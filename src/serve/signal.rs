//! What the operating system asks of us: the first SIGTERM or SIGINT stops in order, the second at once.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told twice, as a shell would report it for SIGINT.
const AT_ONCE: i32 = 130;

/// Cancels `stop` at the first signal; the second ends the process, which loses nothing but time.
pub(super) fn watch(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                tracing::warn!("told twice: stopping at once");
                std::process::exit(AT_ONCE);
            }
            stop.cancel();
        }
    });
    Ok(())
}
