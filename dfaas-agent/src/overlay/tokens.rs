//! Tokens told to one peer over the encrypted connection with it; gossip is for all to hear.

use std::{collections::BTreeMap, time::Duration};

use dfaas_control::{NodeId, Token};
use libp2p::{
    PeerId, StreamProtocol,
    request_response::{self, OutboundRequestId, ProtocolSupport, ResponseChannel, json},
};
use serde::{Deserialize, Serialize};

use super::OverlayEvent;
use crate::identity;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/dfaas/token/1");
/// A token and a word take about 70 bytes.
const BYTES_MAX: u64 = 1024;
/// A peer that does not answer for so long is told again later.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Behaviour = json::Behaviour<Told, Taken>;
pub(super) type Event = request_response::Event<Told, Taken>;

/// What a node wants to be sent by the one to which it says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    token: Token,
    /// Whether it has a token of the one to which it says so.
    has_yours: bool,
}

/// The token will be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {}

pub(super) fn behaviour() -> Behaviour {
    let codec = json::codec::Codec::default()
        .set_request_size_maximum(BYTES_MAX)
        .set_response_size_maximum(BYTES_MAX);
    let config = request_response::Config::default().with_request_timeout(TIMEOUT);
    Behaviour::with_codec(codec, [(PROTOCOL, ProtocolSupport::Full)], config)
}

/// A token for a peer.
#[derive(Debug)]
pub(super) struct Telling {
    pub(super) to: NodeId,
    pub(super) token: Token,
    pub(super) has_theirs: bool,
}

/// The tokens that were told and not answered yet.
#[derive(Default)]
pub(super) struct Tokens {
    waiting: BTreeMap<OutboundRequestId, Token>,
}

/// What comes of an event.
pub(super) enum News {
    Nothing,
    /// Answer if the event can be told.
    Told(OverlayEvent, ResponseChannel<Taken>),
    Taken(OverlayEvent),
}

impl Tokens {
    pub(super) fn tell(&mut self, behaviour: &mut Behaviour, to: &PeerId, telling: &Telling) {
        let told = Told {
            token: telling.token,
            has_yours: telling.has_theirs,
        };
        let request = behaviour.send_request(to, told);
        self.waiting.insert(request, telling.token);
    }

    /// What an event means. Whoever asked is asked again by its mind, so failures need no more than a place free.
    pub(super) fn handle(&mut self, event: Event) -> News {
        match event {
            Event::Message { peer, message, .. } => self.handle_message(peer, message),
            Event::OutboundFailure { request_id, .. } => {
                self.waiting.remove(&request_id);
                News::Nothing
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => News::Nothing,
        }
    }

    fn handle_message(&mut self, peer: PeerId, message: request_response::Message<Told, Taken>) -> News {
        match message {
            request_response::Message::Request { request, channel, .. } => {
                let event = OverlayEvent::TokenTold {
                    from: identity::peer_name(peer),
                    token: request.token,
                    has_ours: request.has_yours,
                };
                News::Told(event, channel)
            }
            request_response::Message::Response { request_id, .. } => {
                let Some(token) = self.waiting.remove(&request_id) else {
                    return News::Nothing;
                };
                News::Taken(OverlayEvent::TokenTaken {
                    by: identity::peer_name(peer),
                    token,
                })
            }
        }
    }
}
