//! The decision about a request: serve it, send it on, or refuse it.

use crate::{
    maps::{FALLBACKS, Function},
    pick::HERE,
};

/// How many targets are drawn by weight before the fallbacks are tried in their order.
pub const DRAWS: u32 = 2;

/// The data plane's own answers, by their number in the map `REPLIES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// 200: the node is there.
    Root = 0,
    /// 400: not HTTP/1.1.
    Malformed = 1,
    /// 403: a path outside of `/function/`.
    Forbidden = 2,
    /// 403: a `DFaaS-Node-ID` that is not of this federation.
    Stranger = 3,
    /// 404: no such function.
    NotFound = 4,
    /// 429: the sending node is over its limit.
    OverLimit = 5,
    /// 431: the head does not fit.
    HeadTooLong = 6,
    /// 503: nobody has room.
    Unavailable = 7,
    /// 501: a transfer coding or protocol that needs a proxy, and there is none.
    NotImplemented = 8,
    /// 403: a `DFaaS-Node-Token` that is not the peer's.
    Forged = 9,
    /// 502: the function's server ended before it answered.
    NotAnswered = 10,
}

/// How many answers there are.
pub const ANSWERS: usize = 11;

impl Answer {
    /// All answers, in the order of their numbers.
    pub const ALL: [Self; ANSWERS] = [
        Self::Root,
        Self::Malformed,
        Self::Forbidden,
        Self::Stranger,
        Self::NotFound,
        Self::OverLimit,
        Self::HeadTooLong,
        Self::Unavailable,
        Self::NotImplemented,
        Self::Forged,
        Self::NotAnswered,
    ];

    /// Its place among the responses: those that end a connection come before those that do not.
    #[inline(always)]
    #[must_use]
    pub const fn number(self, ends: bool) -> u8 {
        self as u8 + !ends as u8 * ANSWERS as u8
    }

    /// What stands before and behind [`Self::CLOSE`] in the response: the response of a connection that goes on.
    #[must_use]
    pub fn kept_response(self) -> [&'static str; 2] {
        let whole = self.response();
        whole.split_once(Self::CLOSE).map_or([whole, ""], <[_; 2]>::from)
    }

    /// The field that says that the connection ends.
    pub const CLOSE: &'static str = "Connection: close\r\n";

    /// The whole response. The connection ends with it (RFC 9112, section 9.6).
    ///
    /// `DFaaS-Refused` tells a node that sent the request that it may send it elsewhere.
    #[must_use]
    pub const fn response(self) -> &'static str {
        match self {
            Self::Root => concat!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 46\r\nConnection: close\r\n\r\n",
                "dfaas: call a function at /function/<its name>"
            ),
            Self::Malformed => concat!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 29\r\nConnection: close\r\n\r\n",
                "dfaas: not a HTTP/1.1 request"
            ),
            Self::Forbidden => concat!(
                "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 43\r\nConnection: close\r\n\r\n",
                "dfaas: only /function/<name> is open to you"
            ),
            Self::Stranger => concat!(
                "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 46\r\n",
                "DFaaS-Refused: 1\r\nConnection: close\r\n\r\n",
                "dfaas: DFaaS-Node-ID is not of this federation"
            ),
            Self::Forged => concat!(
                "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 43\r\n",
                "DFaaS-Refused: 1\r\nConnection: close\r\n\r\n",
                "dfaas: DFaaS-Node-Token is not of this node"
            ),
            Self::NotFound => concat!(
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 44\r\nConnection: close\r\n\r\n",
                "dfaas: no node known here runs this function"
            ),
            Self::OverLimit => concat!(
                "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 41\r\n",
                "DFaaS-Refused: 1\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
                "dfaas: over the limit offered to the node"
            ),
            Self::NotAnswered => concat!(
                "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 38\r\nConnection: close\r\n\r\n",
                "dfaas: the function's server broke off"
            ),
            Self::NotImplemented => concat!(
                "HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain\r\nContent-Length: 53\r\n",
                "Connection: close\r\n\r\n",
                "dfaas: this needs a proxy, and the node runs none now"
            ),
            Self::HeadTooLong => concat!(
                "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain\r\nContent-Length: 44\r\n",
                "Connection: close\r\n\r\n",
                "dfaas: the request's head is over 1280 bytes"
            ),
            Self::Unavailable => concat!(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 46\r\n",
                "DFaaS-Refused: 1\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
                "dfaas: this node and its peers are at capacity"
            ),
        }
    }
}

/// Who sent the request, by its `DFaaS-Node-ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No such field: a user.
    User,
    /// The peer with this index.
    Peer(u32),
    /// A field with an identity that is not admitted.
    Stranger,
    /// The identity of a peer without its token, or a token without an identity.
    Forged,
}

impl Origin {
    /// What the sender is told, whatever it asks for.
    #[inline(always)]
    #[must_use]
    pub const fn refusal(self) -> Option<Answer> {
        match self {
            Self::User | Self::Peer(_) => None,
            Self::Stranger => Some(Answer::Stranger),
            Self::Forged => Some(Answer::Forged),
        }
    }
}

/// What is to be done with a request for a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Serve it here.
    Local,
    /// Send it to the peer with this index.
    Forward(u32),
    /// Answer it.
    Refuse(Answer),
}

/// How many servers can fail a request before its client is told.
pub const FAILURES: usize = 4;

/// Who has failed the current request: peers by index, this node as [`HERE`]; 0 is nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Failed([u16; FAILURES]);

impl Failed {
    /// Nobody.
    pub const NONE: Self = Self([0; FAILURES]);

    /// Notes the next one: the peer with this index, or this node (0).
    #[inline(always)]
    pub const fn add(&mut self, number: u8, target: u32) {
        let place = number as usize % FAILURES;
        self.0[place] = if target == 0 { HERE } else { target as u16 };
    }

    /// Whether it is among them.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, target: u32) -> bool {
        let [first, second, third, fourth] = self.0;
        let found = is_same(first, target)
            | is_same(second, target)
            | is_same(third, target)
            | is_same(fourth, target);
        found != 0
    }

    /// Whether there are any.
    #[inline(always)]
    #[must_use]
    pub const fn has_any(&self) -> bool {
        self.0[0] != 0
    }
}

/// 1 if they are the same, without a branch, each of which would double what the verifier follows.
#[inline(always)]
const fn is_same(failed: u16, target: u32) -> u32 {
    (failed as u32 ^ target).wrapping_sub(1) >> 31
}

/// The state that a decision reads and changes. A token is taken only if the request then goes that way.
pub trait Meter {
    /// Takes a token of the function's local capacity.
    fn take_local(&mut self, function: &Function) -> bool;
    /// Takes a token of what this peer may send us.
    fn take_admission(&mut self, function: &Function, peer: u32) -> bool;
    /// Draws the next target index of the function's row.
    fn draw(&mut self, function: &Function) -> u32;
    /// Takes a token of what we may send to the peer at an index, if it is there.
    fn take_cap(&mut self, function: &Function, index: u32) -> bool;
}

/// Decides about a request for a function.
///
/// Users are served here while there is capacity, else where the draw says (by a peer, or here after all), else refused.
/// What a peer sends is served here up to its limit and never sent on. Who has failed the request is tried again only if
/// nobody else has room; a peer tries others itself.
#[inline(always)]
pub fn decide(
    function: Option<&Function>,
    origin: Origin,
    failed: Failed,
    meter: &mut impl Meter,
) -> Decision {
    if let Some(answer) = origin.refusal() {
        return Decision::Refuse(answer);
    }
    let Some(function) = function else {
        return Decision::Refuse(Answer::NotFound);
    };
    let is_hosted = function.hosted != 0;
    if let Origin::Peer(peer) = origin {
        return if !is_hosted {
            Decision::Refuse(Answer::NotFound)
        } else if failed.has_any() {
            Decision::Refuse(Answer::Unavailable)
        } else if meter.take_admission(function, peer) {
            Decision::Local
        } else {
            Decision::Refuse(Answer::OverLimit)
        };
    }
    if is_hosted && !failed.has(HERE as u32) && meter.take_local(function) {
        return Decision::Local;
    }
    let mut draws = 0;
    while draws < DRAWS {
        draws += 1;
        let index = meter.draw(function);
        if index == 0 {
            break;
        }
        if failed.has(index) {
            continue;
        }
        if index == HERE as u32 {
            return Decision::Local;
        }
        if meter.take_cap(function, index) {
            return Decision::Forward(index);
        }
    }
    let mut fallback = 0;
    while fallback < FALLBACKS {
        let index = function.fallbacks[fallback] as u32;
        fallback += 1;
        if index == 0 {
            break;
        }
        if !failed.has(index) && meter.take_cap(function, index) {
            return Decision::Forward(index);
        }
    }
    if failed.has_any() {
        return again(function, meter);
    }
    Decision::Refuse(Answer::Unavailable)
}

/// Decides once more where all others are full: who has failed may be back.
#[inline(always)]
fn again(function: &Function, meter: &mut impl Meter) -> Decision {
    if function.hosted != 0 && meter.take_local(function) {
        return Decision::Local;
    }
    let index = meter.draw(function);
    if index != 0 && index != HERE as u32 && meter.take_cap(function, index) {
        return Decision::Forward(index);
    }
    Decision::Refuse(Answer::Unavailable)
}

#[cfg(test)]
mod tests;
