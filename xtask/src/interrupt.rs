//! Ctrl-C and its kin.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// How a program ends that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Becomes true when the user wants an end. A second Ctrl-C ends at once: what is left then, the kernel clears away.
pub(crate) fn watch() -> Result<Arc<AtomicBool>> {
    let wanted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&wanted);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    let wait = async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if told.swap(true, Ordering::Relaxed) {
                process::exit(INTERRUPTED);
            }
        }
    };
    let wait = move || runtime.block_on(wait);
    let named = thread::Builder::new().name("interrupt".to_owned());
    named.spawn(wait).context("waiting for signals")?;
    Ok(wanted)
}
