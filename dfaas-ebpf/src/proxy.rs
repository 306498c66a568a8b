//! Connections whose requests cannot be framed here: the local proxy has them for the rest of their lives.

use dfaas_common::{
    decide::Answer,
    http::{Stage, Unframed},
    maps::{Config, FlowKey, IS_PROXIED},
    packet::Headers,
};

use crate::{
    Fault, connect, count,
    ctx::{self, Packet},
    maps::{self, Scratch},
    request,
};

/// Why a connection needs the proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The end of its body is in the body.
    Chunked,
    /// It may become another protocol.
    Upgrade,
    /// Its lengths contradict each other.
    Lengths,
    /// Its head is too long to be held.
    Head,
    /// It is another protocol.
    NotHttp1,
    /// Its head comes in too many parts.
    Slow,
    /// Who is to serve is not reached by the client's version of IP.
    Family,
}

impl Reason {
    /// Why a head cannot be framed.
    #[inline(always)]
    pub(crate) const fn of(unframed: Unframed) -> Self {
        match unframed {
            Unframed::Coding | Unframed::No => Self::Chunked,
            Unframed::Upgrade => Self::Upgrade,
            Unframed::Length => Self::Lengths,
        }
    }

    /// What the client is told without a proxy.
    ///
    /// 501 and its like stand for ever; where the proxy is being started, the client may try again.
    #[inline(always)]
    const fn answer(self, config: &Config) -> Answer {
        match self {
            _ if config.awaits_proxy() => Answer::Unavailable,
            Self::Chunked | Self::Upgrade => Answer::NotImplemented,
            Self::Lengths | Self::NotHttp1 => Answer::Malformed,
            Self::Head | Self::Slow => Answer::HeadTooLong,
            Self::Family => Answer::Unavailable,
        }
    }

    #[inline(always)]
    fn count(self) {
        count::event(|events| match self {
            Self::Chunked => &mut events.proxied_chunked,
            Self::Upgrade => &mut events.proxied_upgrade,
            Self::Lengths => &mut events.proxied_lengths,
            Self::Head => &mut events.proxied_head,
            Self::NotHttp1 => &mut events.proxied_not_http1,
            Self::Slow => &mut events.proxied_slow,
            Self::Family => &mut events.proxied_family,
        });
    }
}

/// Gives a connection to the proxy, or refuses its request where there is none.
///
/// What is held, which is in the scratch space and in the packet, goes first.
#[inline(always)]
pub(crate) fn hand_over(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    reason: Reason,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if !config.has_proxy(headers.family()) {
        return request::refuse(packet, headers, key, reason.answer(config), true, scratch);
    }
    if let Some(client) = maps::client(key) {
        request::park(client, &scratch.opening);
    }
    request::prepare(config, headers, key, u64::MAX >> 1, scratch);
    let now_ns = ctx::now_ns();
    scratch.client.ask(now_ns);
    scratch.upstream.decided_ns = now_ns;
    scratch.upstream.flags |= IS_PROXIED;
    scratch.upstream.response.stage = Stage::Endless as u8;
    scratch.client.flags = IS_PROXIED;
    reason.count();
    connect::local_stack(packet, config, headers, key, scratch)
}
