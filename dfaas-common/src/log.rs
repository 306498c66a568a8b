//! What the programs log, as the host sets it up.

/// The name of the global with the level up to which they log, a byte: [`NOTHING`], or from 1 (errors) to 5 (all) as
/// `aya-log` counts. It can be written only before the programs are loaded.
pub const LEVEL: &str = "DFAAS_LOG_LEVEL";
/// The level below all others.
pub const NOTHING: u8 = 0;
/// The name of the ring buffer, which `aya-log` gives it.
pub const RING: &str = "AYA_LOGS";
