//! What is dropped before it reaches the data plane.

use std::path::PathBuf;

use clap::ValueEnum as _;

use super::mistakes::{Kind, Mistakes};
use crate::data_plane::{GuardConfig, GuardMode, blocked};

/// More than any site's clients begin in a second, behind one address or many.
const SYN_RATE: &str = "1000";

#[derive(Clone, Debug, clap::Args)]
pub(super) struct GuardOptions {
    /// Drop what nobody wants before the kernel makes packets of it (XDP): off, auto, native or generic
    #[arg(long, env = "AGENT_GUARD", value_name = "MODE", default_value = "off")]
    guard: String,
    /// How many connections a second one network (a /24, or a /56 of IPv6) may begin while there is a guard; 0: any number
    #[arg(long, env = "AGENT_GUARD_SYN_RATE", value_name = "RATE", default_value = SYN_RATE)]
    guard_syn_rate: String,
    /// A file of the sources that the guard drops, an address or prefix a line; read again when it changes
    #[arg(long, env = "AGENT_GUARD_BLOCK_FILE", value_name = "FILE")]
    guard_block_file: Option<PathBuf>,
}

impl GuardOptions {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Option<GuardConfig> {
        const FILE: &str = "--guard-block-file";
        let mode = mistakes.take("--guard", mode(&self.guard));
        let syn_rate_rps = mistakes.take("--guard-syn-rate", rate(&self.guard_syn_rate));
        let named = self.guard_block_file.clone();
        let block_file = named.filter(|file| !file.as_os_str().is_empty());
        if let Err(error) = blocked(block_file.clone()).follow() {
            mistakes.note(Kind::Host, FILE, format_args!("{error:#}"));
        }
        if block_file.is_some() && mode == Some(GuardMode::Off) {
            mistakes.note(Kind::Usage, FILE, "there is no guard: choose one with --guard");
        }
        Some(GuardConfig {
            mode: mode?,
            syn_rate_rps: syn_rate_rps?,
            block_file,
        })
    }
}

fn mode(text: &str) -> Result<GuardMode, String> {
    GuardMode::from_str(text.trim(), true)
        .map_err(|_| format!("{text:?} is not one of off, auto, native, generic"))
}

/// A rate, infinite for 0.
fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.trim().parse().ok();
    let rate = rate.filter(|rate| rate.is_finite() && *rate >= 0.0);
    let rate = rate.ok_or_else(|| format!("{text:?} is not a rate such as {SYN_RATE}, or 0"))?;
    Ok(if rate == 0.0 { f64::INFINITY } else { rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rate_is_any_number() {
        assert_eq!(rate("0"), Ok(f64::INFINITY));
        assert_eq!(rate(" 2.5 "), Ok(2.5));
        assert!(rate("-1").unwrap_err().contains("\"-1\" is not a rate"));
        assert!(rate("NaN").is_err());
    }

    #[test]
    fn modes_are_named() {
        assert_eq!(mode("Native"), Ok(GuardMode::Native));
        assert!(mode("xdp").unwrap_err().contains("off, auto, native, generic"));
    }
}
