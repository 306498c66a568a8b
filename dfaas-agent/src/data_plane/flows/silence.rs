//! How long a connection may keep silent.

use dfaas_common::{
    http::Stage,
    maps::{Client, IS_PROXIED, Phase, Upstream},
};

/// How long a connection may take to be answered by its server, or to end once an end is closed, in ticks.
pub(super) const PASSING_TICKS: u32 = 60;
/// How long a request may be under way of which nobody says a word, in ticks: a day. Nothing computes for longer, and an
/// end that is gone without a reset would else be waited for for ever.
const UNDER_WAY_TICKS: u32 = 86_400;

/// Whether a connection has kept silent for too long, where `server` is the current one if it is known.
pub(super) fn is_over(client: &Client, server: Option<&Upstream>, tick: u32, idle_ticks: u32) -> bool {
    let idle = tick.wrapping_sub(client.last_seen);
    if let Some(server) = server.filter(|server| is_its_matter(server, client)) {
        return idle.min(tick.wrapping_sub(server.last_seen)) >= UNDER_WAY_TICKS.max(idle_ticks);
    }
    idle >= if client.is_idle() {
        idle_ticks
    } else {
        PASSING_TICKS.min(idle_ticks)
    }
}

/// Whether a request is its server's matter: all of it was sent, and its client has all that there is of the answer, and
/// takes more. The proxy has time-outs of its own for what it has.
fn is_its_matter(server: &Upstream, client: &Client) -> bool {
    if client.phase() != Phase::Spliced {
        return false;
    }
    if server.is(IS_PROXIED) {
        return !client.closing.has_begun();
    }
    let next = server.numbering.sequence_to_client(server.response.at);
    let takes_more = client.acknowledged == next && client.window > 0;
    let is_awaited = server.response.stage() == Stage::Head || takes_more;
    server.owes_answer() && client.request.left == 0 && is_awaited
}

#[cfg(test)]
mod tests {
    use dfaas_common::{maps::Phase, packet::FIN};

    use super::*;

    #[test]
    fn live_flows_last_until_they_are_idle() {
        let client = Client {
            phase: Phase::Spliced as u8,
            last_seen: 100,
            ..Client::default()
        };
        assert!(!is_over(&client, None, 399, 300));
        assert!(is_over(&client, None, 400, 300));
    }

    #[test]
    fn unanswered_and_closing_flows_go_sooner() {
        let unanswered = Client {
            phase: Phase::Connecting as u8,
            last_seen: 100,
            ..Client::default()
        };
        assert!(!is_over(&unanswered, None, 159, 300));
        assert!(is_over(&unanswered, None, 160, 300));
        let mut closing = Client {
            phase: Phase::Spliced as u8,
            last_seen: 100,
            ..Client::default()
        };
        closing.closing.client(FIN, 1, 0);
        assert!(is_over(&closing, None, 160, 300));
    }

    #[test]
    fn who_awaits_nothing_lasts_as_long_without_a_server() {
        let mut client = Client {
            last_seen: 100,
            ..Client::default()
        };
        assert!(!is_over(&client, None, 399, 300));
        client.asking.held = 1;
        assert!(is_over(&client, None, 160, 300), "it has a half of a head here");
    }

    #[test]
    fn the_clock_may_wrap() {
        let client = Client {
            phase: Phase::Spliced as u8,
            last_seen: u32::MAX,
            ..Client::default()
        };
        assert!(!is_over(&client, None, 1, 300));
    }

    #[test]
    fn a_request_under_way_is_its_servers_matter() {
        let mut client = Client {
            phase: Phase::Spliced as u8,
            window: 500,
            ..Client::default()
        };
        let mut server = Upstream::default();
        server.response.stage = Stage::Head as u8;
        let is_over = |client: &Client, server: &Upstream, tick| is_over(client, Some(server), tick, 300);
        assert!(!is_over(&client, &server, 3_600));
        assert!(is_over(&client, &server, 86_400), "nobody says a word");
        server.last_seen = 80_000;
        assert!(!is_over(&client, &server, 86_400), "the server does");
        client.request.left = 1;
        assert!(is_over(&client, &server, 3_600), "its client sends it still");
        client.request.left = 0;
        client.closing.client(FIN, 1, 0);
        assert!(
            !is_over(&client, &server, 3_600),
            "who has closed its side waits, too"
        );
        server.response.stage = Stage::ChunkLine as u8;
        server.response.at = 700;
        assert!(
            is_over(&client, &server, 3_600),
            "its client does not take the answer"
        );
        client.acknowledged = 700;
        assert!(!is_over(&client, &server, 3_600));
        client.window = 0;
        assert!(
            is_over(&client, &server, 3_600),
            "its client has no room for more"
        );
    }

    #[test]
    fn the_proxy_has_time_outs_of_its_own() {
        let mut client = Client {
            phase: Phase::Spliced as u8,
            ..Client::default()
        };
        client.request.left = 1 << 40;
        let server = Upstream {
            flags: IS_PROXIED,
            ..Upstream::default()
        };
        assert!(!is_over(&client, Some(&server), 3_600, 300));
        client.closing.client(FIN, 1, 0);
        assert!(is_over(&client, Some(&server), 3_600, 300));
    }
}
