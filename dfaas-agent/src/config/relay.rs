//! How nodes behind address translation are reached.

use super::{
    boolean,
    mistakes::Mistakes,
    number,
    overlay_tuning::{count, interval},
};
use crate::overlay::{BehindNat, RelayLimits};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct RelayOptions {
    /// Whether others cannot dial this node, so that it has to be reached through relays: true, false, or auto for what
    /// peers with public addresses find
    #[arg(long, env = "AGENT_BEHIND_NAT", value_name = "BOOL", default_value = "auto")]
    behind_nat: String,
    /// Whether to carry connections for peers that cannot be dialled
    #[arg(
        long,
        env = "AGENT_RELAY_ENABLED",
        value_name = "BOOL",
        default_value = "false"
    )]
    relay_enabled: String,
    /// How many peers may be reached through this one
    #[arg(
        long,
        env = "AGENT_RELAY_RESERVATIONS_MAX",
        value_name = "COUNT",
        default_value = "128"
    )]
    relay_reservations_max: String,
    /// How many connections to carry at a time
    #[arg(
        long,
        env = "AGENT_RELAY_CIRCUITS_MAX",
        value_name = "COUNT",
        default_value = "256"
    )]
    relay_circuits_max: String,
    /// How many of them one peer may open
    #[arg(
        long,
        env = "AGENT_RELAY_CIRCUITS_PER_PEER_MAX",
        value_name = "COUNT",
        default_value = "64"
    )]
    relay_circuits_per_peer_max: String,
    /// How long to carry one of them, whose ends may open another one then
    #[arg(
        long,
        env = "AGENT_RELAY_CIRCUIT_TIME_MAX",
        value_name = "DURATION",
        default_value = "1h"
    )]
    relay_circuit_time_max: String,
    /// How many bytes to carry in each direction of one of them
    #[arg(
        long,
        env = "AGENT_RELAY_CIRCUIT_BYTES_MAX",
        value_name = "BYTES",
        default_value = "268435456"
    )]
    relay_circuit_bytes_max: String,
}

pub(super) struct Section {
    pub(super) behind_nat: BehindNat,
    pub(super) relay: Option<RelayLimits>,
}

impl RelayOptions {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Option<Section> {
        let behind_nat = mistakes.take("--behind-nat", behind_nat(&self.behind_nat));
        let is_enabled = mistakes.take("--relay-enabled", boolean(&self.relay_enabled));
        let mut take = |flag: &str, text: &str| mistakes.take(flag, count(text).and_then(size));
        let reservations_max = take("--relay-reservations-max", &self.relay_reservations_max);
        let circuits_max = take("--relay-circuits-max", &self.relay_circuits_max);
        let circuits_per_peer_max = take("--relay-circuits-per-peer-max", &self.relay_circuits_per_peer_max);
        let time = interval(&self.relay_circuit_time_max).and_then(|time| {
            // Relays tell it in seconds, in 32 bits.
            u32::try_from(time.as_secs()).map_err(|_| format!("{time:?} is too long"))?;
            Ok(time)
        });
        let circuit_time_max = mistakes.take("--relay-circuit-time-max", time);
        let circuit_bytes_max =
            mistakes.take("--relay-circuit-bytes-max", number(&self.relay_circuit_bytes_max));
        let limits = RelayLimits {
            reservations_max: reservations_max?,
            circuits_max: circuits_max?,
            circuits_per_peer_max: circuits_per_peer_max?,
            circuit_time_max: circuit_time_max?,
            circuit_bytes_max: circuit_bytes_max?.into(),
        };
        Some(Section {
            behind_nat: behind_nat?,
            relay: is_enabled?.then_some(limits),
        })
    }
}

fn behind_nat(text: &str) -> Result<BehindNat, String> {
    if text.trim() == "auto" {
        return Ok(BehindNat::Unknown);
    }
    Ok(match boolean(text)? {
        true => BehindNat::Yes,
        false => BehindNat::No,
    })
}

fn size(count: u32) -> Result<usize, String> {
    usize::try_from(count).map_err(|_| format!("{count} is too many"))
}
