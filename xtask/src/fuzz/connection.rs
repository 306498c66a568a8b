//! The model of a connection with the real programs in the middle: it lives in the kernel tests, and is run here for
//! longer than there.

use anyhow::{Context as _, Result, ensure};

use crate::{ebpf, shell, suite::Suite};

/// The test program, and the test in it.
const PROGRAM: &str = "dfaas-testbed kernel";
const TEST: &str = "model::connections_keep_their_promises";
/// What the test reads.
const SECONDS: &str = "DFAAS_MODEL_SECONDS";
const SEED: &str = "DFAAS_MODEL_SEED";

/// Builds the programs and the model, and runs seeds from one on.
///
/// # Errors
///
/// When something cannot be built, or a seed fails; its smallest script and all its segments have been shown by then.
pub(super) fn run(minutes: f64, seed: u64) -> Result<()> {
    ensure!(
        minutes >= 0.0 && minutes.is_finite(),
        "{minutes} minutes are no time"
    );
    ebpf::build()?;
    let suite = Suite::build()?;
    ensure!(suite.complete, "not all tests were built");
    let program = suite.programs.iter().find(|program| program.name == PROGRAM);
    let program = program.with_context(|| format!("there is no {PROGRAM}"))?;
    let mut command = program.command();
    command.args([TEST, "--exact", "--nocapture"]);
    command.env(SECONDS, format!("{}", (minutes * 60.0).ceil() as u64));
    command.env(SEED, seed.to_string());
    shell::run(&mut command)
}
