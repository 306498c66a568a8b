//! One end of a TCP connection, as Linux would be (RFC 9293): sans I/O, in virtual time.
//!
//! Bytes are counted from the SYN, which is number 0; so the first byte of data is number 1.

mod receiver;
mod sender;

use self::{receiver::Receiver, sender::Sender};
use crate::{
    MILLISECOND, Micros, SECOND,
    segment::{ACK, End, FIN, Options, RST, SYN, Segment},
};

/// `TCP_TIMEWAIT_LEN`
const TIME_WAIT: Micros = 60 * SECOND;
/// How often a SYN, or a SYN-ACK, is sent again.
const SYN_RETRIES: u32 = 6;
/// `tcp_invalid_ratelimit`
const CHALLENGE_INTERVAL: Micros = 500 * MILLISECOND;
/// A SYN is sent again after this time (RFC 6298, section 2).
const SYN_TIMEOUT: Micros = SECOND;

/// How an end behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest segment it takes, in bytes.
    pub segment_size: u16,
    /// Its window scale, if it offers one.
    pub scale: Option<u8>,
    /// Whether it offers selective acknowledgments.
    pub sack: bool,
    /// Whether it acknowledges each segment at once, rather than each second one or after 40 ms.
    pub quick_acks: bool,
    /// Whether it takes data that comes with a SYN (RFC 7413, without a cookie).
    pub takes_early_data: bool,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The handshake is under way.
    Opening,
    /// Bytes may go either way.
    Open,
    /// Both sides have closed; who closed first still answers.
    TimeWait,
    /// It is over.
    Closed(Reason),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Both sides have closed.
    Done,
    /// The other side has reset it, or refused it.
    Reset,
    /// This side has reset it.
    Aborted,
    /// Nobody has answered.
    TimedOut,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Tcp {
    local: End,
    remote: End,
    settings: Settings,
    state: State,
    is_client: bool,
    sender: Sender,
    receiver: Receiver,
    /// When the handshake is repeated, and how often it was.
    opening: Option<(Micros, u32)>,
    time_wait_until: Micros,
    /// Nobody reads any more: what comes is answered with a reset.
    is_deaf: bool,
    /// What is to be sent.
    out: Vec<Segment>,
    /// What no right peer does.
    complaints: Vec<String>,
    /// When it may say next that an acknowledgment is strange.
    next_challenge: Micros,
}

impl Tcp {
    /// Opens a connection.
    #[must_use]
    pub fn connect(settings: Settings, local: End, remote: End, isn: u32, now: Micros) -> Self {
        let mut tcp = Self::new(settings, local, remote, isn, true);
        tcp.greet(now, 0);
        tcp
    }

    /// Takes a connection that a SYN asks for.
    #[must_use]
    pub fn accept(settings: Settings, syn: &Segment, isn: u32, now: Micros) -> Self {
        let mut tcp = Self::new(settings, syn.to, syn.from, isn, false);
        tcp.settings.scale = settings.scale.filter(|_| syn.options.scale.is_some());
        tcp.settings.sack &= syn.options.permits_sack;
        tcp.receiver.meet(syn.sequence, tcp.settings.sack);
        tcp.sender.meet(syn, tcp.settings.scale.is_some());
        if tcp.settings.takes_early_data {
            tcp.receiver.take(1, &syn.payload, false, now);
            tcp.receiver.ack_due = None;
        }
        tcp.greet(now, 0);
        tcp
    }

    fn new(settings: Settings, local: End, remote: End, isn: u32, is_client: bool) -> Self {
        Self {
            local,
            remote,
            settings,
            state: State::Opening,
            is_client,
            sender: Sender::new(isn, settings.segment_size),
            receiver: Receiver::new(),
            opening: None,
            time_wait_until: Micros::MAX,
            is_deaf: false,
            out: Vec::new(),
            complaints: Vec::new(),
            next_challenge: 0,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Who is at the other end.
    #[must_use]
    pub fn remote(&self) -> End {
        self.remote
    }

    /// Takes what the other side has done wrong.
    pub fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Gives bytes to be sent.
    pub fn write(&mut self, bytes: &[u8]) {
        self.sender.write(bytes);
    }

    /// Closes for writing (`shutdown(SHUT_WR)`).
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    /// Closes for both (`close`): what comes from now on is answered with a reset, as is what was not read.
    pub fn close(&mut self) {
        self.is_deaf = true;
        if self.receiver.has_unread() && matches!(self.state, State::Open | State::Opening) {
            self.abort();
        } else {
            self.sender.finish();
        }
    }

    /// Resets the connection.
    pub fn abort(&mut self) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        if self.state != State::Opening || !self.is_client {
            let mut reset = self.bare(RST | ACK);
            reset.window = 0;
            self.out.push(reset);
        }
        self.state = State::Closed(Reason::Aborted);
    }

    /// Takes the bytes that have come.
    pub fn read(&mut self) -> Vec<u8> {
        self.receiver.read()
    }

    /// Whether the other side has closed, and all before that was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.receiver.has_ended() && !self.receiver.has_unread()
    }

    /// Whether all that was written is acknowledged.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.sender.is_drained()
    }

    /// Sends SYN or SYN-ACK.
    fn greet(&mut self, now: Micros, retries: u32) {
        let flags = if self.is_client { SYN } else { SYN | ACK };
        let mut segment = self.bare(flags);
        segment.sequence = self.sender.number(0);
        segment.window = u16::MAX;
        segment.options = Options {
            segment_size: Some(self.settings.segment_size),
            scale: self.settings.scale,
            permits_sack: self.settings.sack,
            sacks: Vec::new(),
        };
        self.out.push(segment);
        self.opening = Some((now + (SYN_TIMEOUT << retries), retries));
    }

    /// A segment without a payload where the next byte would be.
    fn bare(&self, flags: u8) -> Segment {
        let scale = self.settings.scale.unwrap_or(0);
        Segment {
            from: self.local,
            to: self.remote,
            sequence: self.sender.next_number(),
            acknowledgment: if flags & ACK == 0 {
                0
            } else {
                self.receiver.acknowledgment()
            },
            flags,
            window: (receiver::WINDOW >> scale).min(65_535) as u16,
            options: Options {
                sacks: if self.settings.sack {
                    self.receiver.blocks()
                } else {
                    Vec::new()
                },
                ..Options::default()
            },
            payload: Vec::new(),
        }
    }

    fn acknowledge(&mut self) {
        let segment = self.bare(ACK);
        self.receiver.ack_due = None;
        self.out.push(segment);
    }

    /// Takes a segment that has come.
    pub fn receive(&mut self, now: Micros, segment: &Segment) {
        match self.state {
            State::Closed(_) => self.out.extend(segment.refusal()),
            // `tcp_timewait_state_process`: what says nothing new is not answered.
            State::TimeWait if segment.payload.is_empty() && !segment.has(SYN | FIN | RST) => {}
            State::Opening if self.is_client => self.receive_greeting(now, segment),
            State::Opening | State::Open | State::TimeWait => self.receive_more(now, segment),
        }
    }

    /// RFC 9293, section 3.10.7.3.
    fn receive_greeting(&mut self, now: Micros, segment: &Segment) {
        let is_ours = segment.has(ACK) && segment.acknowledgment == self.sender.number(1);
        if segment.has(ACK) && !is_ours {
            self.out.extend(segment.refusal());
            return;
        }
        if segment.has(RST) {
            if is_ours {
                self.state = State::Closed(Reason::Reset);
            }
            return;
        }
        if !segment.has(SYN) || !is_ours {
            return;
        }
        self.settings.scale = self.settings.scale.filter(|_| segment.options.scale.is_some());
        self.settings.sack &= segment.options.permits_sack;
        self.receiver.meet(segment.sequence, self.settings.sack);
        self.sender.meet(segment, self.settings.scale.is_some());
        self.open();
        self.receiver.take(1, &segment.payload, segment.has(FIN), now);
        self.acknowledge();
    }

    fn open(&mut self) {
        self.state = State::Open;
        self.opening = None;
        self.sender.open();
    }

    /// RFC 9293, section 3.10.7.4, with RFC 5961.
    fn receive_more(&mut self, now: Micros, segment: &Segment) {
        let at = self.receiver.offset(segment.sequence);
        let end = at + i64::from(segment.length());
        let next = self.receiver.next() as i64;
        let is_acceptable = end >= next && at <= next + i64::from(receiver::WINDOW);
        if !is_acceptable {
            if !segment.has(RST) {
                self.acknowledge();
            }
            return;
        }
        if segment.has(RST) {
            if at == next {
                self.state = State::Closed(Reason::Reset);
            } else {
                self.acknowledge();
            }
            return;
        }
        if segment.has(SYN) {
            if self.state == State::Opening {
                // Our SYN-ACK was lost.
                self.greet(now, self.opening.map_or(0, |(_, retries)| retries));
            } else {
                self.acknowledge();
            }
            return;
        }
        if !segment.has(ACK) || !self.note_acknowledgment(now, segment, at) {
            return;
        }
        self.take_payload(now, segment, at);
        self.note_end(now);
    }

    /// Returns whether the segment is one of this connection.
    fn note_acknowledgment(&mut self, now: Micros, segment: &Segment, at: i64) -> bool {
        let acknowledged = self.sender.offset(segment.acknowledgment);
        let is_unsent = acknowledged > self.sender.highest() as i64;
        if is_unsent || acknowledged < self.sender.acknowledged() as i64 - i64::from(receiver::WINDOW) {
            if self.state == State::Opening {
                self.out.extend(segment.refusal());
                return false;
            }
            // What comes late, when all is over, may be in any numbers.
            let is_over = self.state == State::TimeWait;
            if now >= self.next_challenge && !is_over {
                self.next_challenge = now + CHALLENGE_INTERVAL;
                self.complaints.push(format!(
                    "byte {acknowledged} is acknowledged, and {} of {} were",
                    self.sender.acknowledged(),
                    self.sender.highest()
                ));
                self.acknowledge();
            }
            return false;
        }
        if self.state == State::Opening {
            if acknowledged < 1 {
                return false;
            }
            self.open();
        }
        self.sender.acknowledge(now, segment, acknowledged, at);
        true
    }

    fn take_payload(&mut self, now: Micros, segment: &Segment, at: i64) {
        if segment.payload.is_empty() && !segment.has(FIN) {
            if at < self.receiver.next() as i64 {
                // A keepalive or a probe.
                self.acknowledge();
            }
            return;
        }
        let behind = at + segment.payload.len() as i64;
        if self.is_deaf && behind > self.receiver.next() as i64 {
            self.out.extend(segment.refusal());
            self.state = State::Closed(Reason::Aborted);
            return;
        }
        let is_early_end = segment.has(FIN);
        let is_next = self
            .receiver
            .take(at.max(0) as u64, skip_syn(segment, at), is_early_end, now);
        if !is_next || is_early_end || self.settings.quick_acks || self.receiver.owes_many() {
            self.acknowledge();
        }
    }

    fn note_end(&mut self, now: Micros) {
        if self.state != State::Open || !self.receiver.has_ended() || !self.sender.has_ended() {
            return;
        }
        if self.sender.was_first_to_end() {
            self.state = State::TimeWait;
            self.time_wait_until = now + TIME_WAIT;
        } else {
            self.state = State::Closed(Reason::Done);
        }
    }

    /// Sends what can be sent, and does what is due.
    pub fn poll(&mut self, now: Micros) -> Vec<Segment> {
        self.do_due(now);
        let may_send = match self.state {
            State::Open => true,
            // Of a handshake with early data the server may answer before it ends.
            State::Opening => !self.is_client && self.receiver.next() > 1,
            State::TimeWait | State::Closed(_) => false,
        };
        if may_send {
            if self.receiver.has_ended() {
                self.sender.note_other_end();
            }
            while let Some((offset, length, is_end)) = self.sender.next_piece(now) {
                let mut segment = self.bare(ACK | if is_end { FIN } else { 0 });
                segment.sequence = self.sender.number(offset);
                segment.payload = self.sender.bytes(offset, length);
                if length > 0 {
                    segment.flags |= crate::segment::PSH;
                }
                self.receiver.ack_due = None;
                self.out.push(segment);
            }
            self.note_end(now);
        }
        std::mem::take(&mut self.out)
    }

    fn do_due(&mut self, now: Micros) {
        if self.state == State::TimeWait && now >= self.time_wait_until {
            self.state = State::Closed(Reason::Done);
        }
        if let (State::Opening, Some((at, retries))) = (self.state, self.opening)
            && now >= at
        {
            if retries == SYN_RETRIES {
                self.state = State::Closed(Reason::TimedOut);
            } else {
                self.greet(now, retries + 1);
            }
        }
        if self.state == State::Open {
            if self.receiver.ack_due.is_some_and(|due| now >= due) {
                self.acknowledge();
            }
            match self.sender.do_due(now) {
                sender::Due::Nothing => {}
                sender::Due::Probe => {
                    let mut probe = self.bare(ACK);
                    probe.sequence = self.sender.number(self.sender.acknowledged()).wrapping_sub(1);
                    self.out.push(probe);
                }
                sender::Due::GiveUp => self.state = State::Closed(Reason::TimedOut),
            }
        }
    }

    /// When [`Self::poll`] has something to do next.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        match self.state {
            State::Closed(_) => None,
            State::TimeWait => Some(self.time_wait_until),
            State::Opening => self.opening.map(|(at, _)| at),
            State::Open => [self.receiver.ack_due, self.sender.deadline()]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    /// How it stands, for a trace.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{:?}, sent {} of {}, received {}",
            self.state,
            self.sender.acknowledged(),
            self.sender.highest(),
            self.receiver.next()
        )
    }
}

/// The bytes of a segment behind a SYN that came before.
fn skip_syn(segment: &Segment, at: i64) -> &[u8] {
    let skip = usize::try_from(-at).unwrap_or(0).min(segment.payload.len());
    &segment.payload[skip..]
}

/// After this time an acknowledgment is sent at the latest (`TCP_DELACK_MIN`).
const DELAYED_ACK: Micros = 40 * MILLISECOND;
