//! Intervals and limits of the overlay.

use std::time::Duration;

use super::{go_duration, mistakes::Mistakes, number};
use crate::overlay::{Tuning, silence};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct TuningOptions {
    /// How often multicast DNS asks for peers; 0 for not at all
    #[arg(
        long,
        env = "AGENT_MDNS_INTERVAL",
        value_name = "DURATION",
        default_value = "10s"
    )]
    mdns_interval: String,
    /// Connections of the overlay at a time
    #[arg(
        long,
        env = "AGENT_OVERLAY_CONNECTIONS_MAX",
        value_name = "COUNT",
        default_value = "2048"
    )]
    overlay_connections_max: String,
    /// Connections of the overlay at a time with one peer
    #[arg(
        long,
        env = "AGENT_OVERLAY_CONNECTIONS_PER_PEER_MAX",
        value_name = "COUNT",
        default_value = "8"
    )]
    overlay_connections_per_peer_max: String,
    /// Connections of the overlay at a time from who has not proven who he is
    #[arg(
        long,
        env = "AGENT_OVERLAY_PENDING_MAX",
        value_name = "COUNT",
        default_value = "64"
    )]
    overlay_pending_max: String,
    /// How long a connection of the overlay may take to open
    #[arg(
        long,
        env = "AGENT_OVERLAY_DIAL_TIMEOUT",
        value_name = "DURATION",
        default_value = "5s"
    )]
    overlay_dial_timeout: String,
    /// The longest time between two attempts to reach a peer
    #[arg(
        long,
        env = "AGENT_OVERLAY_DIAL_DELAY_MAX",
        value_name = "DURATION",
        default_value = "10s"
    )]
    overlay_dial_delay_max: String,
    /// How often each connection of the overlay is tried
    #[arg(
        long,
        env = "AGENT_OVERLAY_PING_INTERVAL",
        value_name = "DURATION",
        default_value = "500ms"
    )]
    overlay_ping_interval: String,
    /// How long an answer to that may take
    #[arg(
        long,
        env = "AGENT_OVERLAY_PING_TIMEOUT",
        value_name = "DURATION",
        default_value = "1s"
    )]
    overlay_ping_timeout: String,
    /// For how long a connection may be without an answer [default: three periods, at least 3s and at most 15s]
    #[arg(
        long,
        env = "AGENT_OVERLAY_SILENCE",
        value_name = "DURATION",
        default_value = ""
    )]
    overlay_silence: String,
    /// For how long somebody may be connected who has not joined the topic
    #[arg(
        long,
        env = "AGENT_OVERLAY_STRANGER_TIME",
        value_name = "DURATION",
        default_value = "30s"
    )]
    overlay_stranger_time: String,
    /// How many messages a second each peer may write
    #[arg(
        long,
        env = "AGENT_OVERLAY_MESSAGE_RATE_MAX",
        value_name = "COUNT",
        default_value = "50"
    )]
    overlay_message_rate_max: String,
    /// How many messages that nobody can read a peer may send or pass on within a minute or so before it is banned
    #[arg(
        long,
        env = "AGENT_OVERLAY_MALFORMED_MAX",
        value_name = "COUNT",
        default_value = "10"
    )]
    overlay_malformed_max: String,
    /// For how long it is banned
    #[arg(
        long,
        env = "AGENT_OVERLAY_BAN_TIME",
        value_name = "DURATION",
        default_value = "5m"
    )]
    overlay_ban_time: String,
    /// How often gossip repairs its paths
    #[arg(
        long,
        env = "AGENT_OVERLAY_HEARTBEAT",
        value_name = "DURATION",
        default_value = "300ms"
    )]
    overlay_heartbeat: String,
}

impl TuningOptions {
    pub(super) fn check(&self, period: Duration, mistakes: &mut Mistakes) -> Option<Tuning> {
        let mdns_interval = mistakes.take("--mdns-interval", go_duration::parse(&self.mdns_interval));
        let mut count = |flag: &str, text: &str| mistakes.take(flag, count(text));
        let connections_max = count("--overlay-connections-max", &self.overlay_connections_max);
        let connections_per_peer_max = count(
            "--overlay-connections-per-peer-max",
            &self.overlay_connections_per_peer_max,
        );
        let pending_max = count("--overlay-pending-max", &self.overlay_pending_max);
        let message_rate_max = count("--overlay-message-rate-max", &self.overlay_message_rate_max);
        let malformed_max = count("--overlay-malformed-max", &self.overlay_malformed_max);
        let mut take = |flag: &str, text: &str| mistakes.take(flag, interval(text));
        let dial_timeout = take("--overlay-dial-timeout", &self.overlay_dial_timeout);
        let dial_delay_max = take("--overlay-dial-delay-max", &self.overlay_dial_delay_max);
        let ping_interval = take("--overlay-ping-interval", &self.overlay_ping_interval);
        let ping_timeout = take("--overlay-ping-timeout", &self.overlay_ping_timeout);
        let silence = match self.overlay_silence.trim() {
            "" => Some(silence(period)),
            text => take("--overlay-silence", text),
        };
        let stranger_time = take("--overlay-stranger-time", &self.overlay_stranger_time);
        let ban_time = take("--overlay-ban-time", &self.overlay_ban_time);
        let heartbeat = take("--overlay-heartbeat", &self.overlay_heartbeat);
        Some(Tuning {
            connections_max: connections_max?,
            connections_per_peer_max: connections_per_peer_max?,
            pending_max: pending_max?,
            dial_timeout: dial_timeout?,
            dial_delay_max: dial_delay_max?,
            ping_interval: ping_interval?,
            ping_timeout: ping_timeout?,
            silence: silence?,
            stranger_time: stranger_time?,
            message_rate_max: message_rate_max?,
            malformed_max: malformed_max?,
            ban_time: ban_time?,
            heartbeat: heartbeat?,
            mdns_interval: mdns_interval?,
        })
    }
}

/// A time that something is repeated after or given up after, so that none would mean never to rest.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    const MIN: Duration = Duration::from_millis(10);
    let time = go_duration::parse(text).map_err(|error| error.to_string())?;
    if time < MIN {
        return Err(format!("{time:?} is less than {MIN:?}"));
    }
    Ok(time)
}

pub(super) fn count(text: &str) -> Result<u32, String> {
    match number(text)? {
        0 => Err("at least one is needed".to_owned()),
        count => Ok(count),
    }
}
