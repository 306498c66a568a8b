//! A client: it writes its requests as the script says, and reads the answers.

use crate::{
    Micros, SECOND,
    host::settings,
    http,
    node::{CLIENT, CLIENT_PORT, NODE, PORT},
    outcome::{Asked, Fate},
    script::{Client, Ending, Manner},
    segment::{End, Segment},
    tcp::{State, Tcp},
};

/// A client waits so long for an answer.
pub(crate) const PATIENCE: Micros = 90 * SECOND;
/// It waits so long for an end that was announced.
const END_PATIENCE: Micros = 5 * SECOND;

/// A client and its connection.
#[derive(Debug)]
pub(crate) struct Caller {
    plan: Client,
    end: End,
    isn: u32,
    tcp: Option<Tcp>,
    asked: Vec<Asked>,
    /// The request that is written next, and how many of its bytes were.
    writing: (usize, usize),
    next_write: Micros,
    /// How many were answered.
    answered: usize,
    last_answer: Micros,
    inbox: Vec<u8>,
    /// No more is asked.
    is_last: bool,
    is_done: bool,
    has_ended_itself: bool,
    /// When bytes have moved last.
    active: Micros,
    pub(crate) complaints: Vec<String>,
}

impl Caller {
    pub(crate) fn new(plan: &Client, number: u16, isn: u32) -> Self {
        let asked = plan.requests.iter().map(|request| Asked {
            id: request.id,
            asked_at: 0,
            whole_at: None,
            ended_at: 0,
            fate: Fate::Unasked,
        });
        Self {
            end: End {
                address: CLIENT,
                port: CLIENT_PORT + number,
            },
            isn,
            tcp: None,
            asked: asked.collect(),
            writing: (0, 0),
            next_write: plan.start,
            answered: 0,
            last_answer: plan.start,
            inbox: Vec::new(),
            is_last: false,
            is_done: false,
            has_ended_itself: false,
            active: plan.start,
            complaints: Vec::new(),
            plan: plan.clone(),
        }
    }

    pub(crate) fn receive(&mut self, now: Micros, segment: &Segment) {
        if let Some(tcp) = &mut self.tcp {
            tcp.receive(now, segment);
        }
    }

    /// Whether it has all that it wants, and its connection is over.
    pub(crate) fn is_over(&self) -> bool {
        self.is_done
            && self
                .tcp
                .as_ref()
                .is_none_or(|tcp| matches!(tcp.state(), State::Closed(_) | State::TimeWait))
    }

    pub(crate) fn asked(&self) -> &[Asked] {
        &self.asked
    }

    pub(crate) fn summary(&self) -> String {
        let tcp = self.tcp.as_ref().map_or("not open".to_owned(), Tcp::summary);
        format!("client {}: {tcp}, {} answered", self.end, self.answered)
    }

    pub(crate) fn deadline(&self) -> Option<Micros> {
        let Some(tcp) = &self.tcp else {
            return Some(self.plan.start);
        };
        if matches!(tcp.state(), State::Closed(_)) {
            return None;
        }
        let write = if tcp.state() == State::Open && !self.is_last {
            self.next_write
        } else {
            Micros::MAX
        };
        let own = (!self.is_done).then(|| write.min(self.patience_end()));
        tcp.deadline().into_iter().chain(own).min()
    }

    pub(crate) fn poll(&mut self, now: Micros) -> Vec<Segment> {
        if self.tcp.is_none() {
            if now < self.plan.start {
                return Vec::new();
            }
            let server = End {
                address: NODE,
                port: PORT,
            };
            let settings = settings(self.plan.side, false);
            self.tcp = Some(Tcp::connect(settings, self.end, server, self.isn, now));
            self.next_write = now;
        }
        let Some(mut tcp) = self.tcp.take() else {
            return Vec::new();
        };
        if !self.is_done {
            self.run(now, &mut tcp);
        }
        let out = tcp.poll(now);
        self.complaints.extend(tcp.take_complaints());
        self.tcp = Some(tcp);
        out
    }

    fn run(&mut self, now: Micros, tcp: &mut Tcp) {
        let came = tcp.read();
        if !came.is_empty() {
            self.active = now;
        }
        self.inbox.extend(came);
        self.read_answers(now, tcp.has_ended());
        if let State::Closed(reason) = tcp.state() {
            return self.be_done(now, &Fate::Ended(Some(reason)));
        }
        if tcp.has_ended() {
            tcp.close();
            return self.be_done(now, &Fate::Ended(None));
        }
        if matches!(tcp.state(), State::Open) {
            self.write_due(now, tcp);
        }
        self.end_if_due(now, tcp);
    }

    fn read_answers(&mut self, now: Micros, has_ended: bool) {
        while !self.inbox.is_empty() {
            let Some(request) = self.plan.requests.get(self.answered) else {
                self.complaints.push(self.strange("more than was asked for"));
                return;
            };
            let read = match http::read_answer(&self.inbox, request.method, has_ended) {
                Ok(Some(read)) => read,
                Ok(None) => return,
                Err(error) => {
                    let text = self.strange(&error);
                    self.complaints.push(text);
                    return;
                }
            };
            let asked = &mut self.asked[self.answered];
            if asked.fate == Fate::Unasked {
                let text = self.strange("an answer that nobody has asked for");
                self.complaints.push(text);
                return;
            }
            self.inbox.drain(..read.length);
            self.is_last |= read.says_close;
            asked.fate = Fate::Answered(read);
            asked.ended_at = now;
            self.answered += 1;
            self.last_answer = now;
            self.next_write = now;
        }
    }

    fn strange(&self, what: &str) -> String {
        let bytes = &self.inbox[..self.inbox.len().min(200)];
        format!("{what}: {}", bytes.escape_ascii())
    }

    /// Writes what is due of the next request.
    fn write_due(&mut self, now: Micros, tcp: &mut Tcp) {
        while !self.is_last && now >= self.next_write {
            let (index, written) = self.writing;
            let Some(request) = self.plan.requests.get(index) else {
                self.next_write = Micros::MAX;
                return;
            };
            if written == 0 && index > self.answered && !request.is_pipelined {
                self.next_write = Micros::MAX;
                return;
            }
            if written == 0 && index == self.answered && index > 0 && now < self.last_answer + request.pause {
                self.next_write = self.last_answer + request.pause;
                return;
            }
            let bytes = http::request(request);
            let end = request.cuts.iter().copied().find(|cut| *cut > written);
            let end = end.unwrap_or(bytes.len()).min(bytes.len());
            tcp.write(&bytes[written..end]);
            self.active = now;
            let asked = &mut self.asked[index];
            if written == 0 {
                asked.asked_at = now;
                asked.fate = Fate::Waiting;
            }
            if end == bytes.len() {
                asked.whole_at = Some(now);
                self.writing = (index + 1, 0);
                if self.plan.ending == Ending::HalfClose && index + 1 == self.plan.requests.len() {
                    tcp.finish();
                    self.has_ended_itself = true;
                }
            } else {
                self.writing = (index, end);
                self.next_write = now + request.gap;
            }
        }
    }

    /// When it has waited long enough, for whatever it waits for.
    fn patience_end(&self) -> Micros {
        let all = self.plan.requests.len();
        if self.is_last {
            return self.last_answer + END_PATIENCE;
        }
        if self.answered == all {
            return match self.plan.ending {
                Ending::Linger(after) => self.last_answer + after,
                Ending::HalfClose => self.last_answer + END_PATIENCE,
                Ending::Close | Ending::Reset(_) => self.last_answer,
            };
        }
        if let (Ending::Reset(after), true) = (self.plan.ending, self.writing.0 == all) {
            return self
                .active
                .min(self.asked[all - 1].whole_at.unwrap_or(self.active))
                + after;
        }
        let is_silent = |index: usize| {
            self.plan
                .requests
                .get(index)
                .is_some_and(|request| request.answer.manner == Manner::Silent)
        };
        self.active
            + if is_silent(self.answered) {
                2 * SECOND
            } else {
                PATIENCE
            }
    }

    fn end_if_due(&mut self, now: Micros, tcp: &mut Tcp) {
        if now < self.patience_end() {
            return;
        }
        let all = self.plan.requests.len();
        let resets = matches!(self.plan.ending, Ending::Reset(_));
        if (self.answered == all || self.is_last) && !resets {
            tcp.close();
            return self.be_done(now, &Fate::Ended(None));
        }
        tcp.abort();
        self.be_done(now, &Fate::GivenUp);
    }

    fn be_done(&mut self, now: Micros, fate: &Fate) {
        self.is_done = true;
        for asked in &mut self.asked {
            if asked.fate == Fate::Waiting {
                asked.fate = fate.clone();
                asked.ended_at = now;
            }
        }
    }
}
