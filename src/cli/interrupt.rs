//! Ctrl-C: the first asks whoever works to end with what there is, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// The exit code after a second Ctrl-C: 128 + SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// From here on Ctrl-C (and SIGTERM) sets what [`asked`] tells.
///
/// # Errors
/// The system has no such handler.
pub(crate) fn watch() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}

/// Did Ctrl-C come since the last [`forget`]?
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// What was asked has been done.
pub(crate) fn forget() {
    ASKED.store(false, Ordering::Relaxed);
}
