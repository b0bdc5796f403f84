//! SIGINT and SIGTERM.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second SIGINT: 128 + 2, as shells report it.
pub const EXIT_SIGINT: i32 = 130;
/// Exit code after a second SIGTERM: 128 + 15, as shells report it.
pub const EXIT_SIGTERM: i32 = 143;

/// Cancels `stop` at the first SIGINT or SIGTERM; a second one ends the process at once with [`EXIT_SIGINT`] or
/// [`EXIT_SIGTERM`]. The handlers are in place when this returns.
///
/// Ending at once loses nothing that was acknowledged: the store commits in transactions.
///
/// # Errors
/// The operating system's, if the handlers cannot be installed.
pub fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let (name, code) = tokio::select! {
                Some(()) = interrupt.recv() => ("SIGINT", EXIT_SIGINT),
                Some(()) = terminate.recv() => ("SIGTERM", EXIT_SIGTERM),
                else => return,
            };
            if stop.is_cancelled() {
                tracing::warn!(signal = name, "stopping at once");
                std::process::exit(code);
            }
            tracing::info!(signal = name, "stopping; a second signal stops at once");
            stop.cancel();
        }
    });
    Ok(())
}
