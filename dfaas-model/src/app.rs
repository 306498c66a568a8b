//! What a server does on one connection: it takes requests one by one, and answers as the script says.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    Micros, SECOND, http,
    script::{Manner, Method, Request},
    tcp::{State, Tcp},
};

/// A server closes what has been silent for so long.
const IDLE_TIMEOUT: Micros = 20 * SECOND;

/// What is due on a connection.
#[derive(Clone, Debug)]
enum Act {
    Write(Vec<u8>),
    Close,
    Abort,
    /// The next request may be read.
    Next,
}

/// A connection as the server's program sees it.
#[derive(Debug)]
pub(crate) struct App {
    inbox: Vec<u8>,
    acts: VecDeque<(Micros, Act)>,
    is_busy: bool,
    is_silent: bool,
    active: Micros,
}

/// What a server has seen.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Requests that came whole, and were not refused.
    pub(crate) served: Vec<u32>,
    /// What no client sent like this.
    pub(crate) complaints: Vec<String>,
}

impl App {
    pub(crate) fn new(now: Micros) -> Self {
        Self {
            inbox: Vec::new(),
            acts: VecDeque::new(),
            is_busy: false,
            is_silent: false,
            active: now,
        }
    }

    pub(crate) fn deadline(&self) -> Micros {
        let idle = self.active + IDLE_TIMEOUT;
        self.acts.front().map_or(idle, |(at, _)| *at)
    }

    /// Does what is due. `stamps` says how many stamps each request has to have.
    pub(crate) fn run(
        &mut self,
        now: Micros,
        tcp: &mut Tcp,
        requests: &BTreeMap<u32, Request>,
        stamps: usize,
        log: &mut Log,
    ) {
        if !matches!(tcp.state(), State::Open | State::Opening) {
            return;
        }
        self.act(now, tcp);
        while !self.is_busy && matches!(tcp.state(), State::Open | State::Opening) {
            let came = tcp.read();
            if !came.is_empty() {
                self.active = now;
            }
            self.inbox.extend(came);
            if !self.take_request(now, requests, stamps, log) {
                break;
            }
            self.act(now, tcp);
        }
        let is_over = tcp.has_ended() && !self.is_busy;
        if is_over || (self.acts.is_empty() && now >= self.active + IDLE_TIMEOUT) {
            self.active = Micros::MAX / 2;
            tcp.close();
        }
    }

    fn act(&mut self, now: Micros, tcp: &mut Tcp) {
        while let Some((at, _)) = self.acts.front()
            && *at <= now
            && matches!(tcp.state(), State::Open | State::Opening)
        {
            let Some((_, act)) = self.acts.pop_front() else {
                break;
            };
            self.active = now;
            match act {
                Act::Write(bytes) => tcp.write(&bytes),
                Act::Close => {
                    self.active = Micros::MAX / 2;
                    self.acts.clear();
                    // Not busy any more, but nothing is read either.
                    self.is_busy = true;
                    tcp.close();
                }
                Act::Abort => tcp.abort(),
                Act::Next => self.is_busy = false,
            }
        }
    }

    /// Takes the next request, if it is whole.
    fn take_request(
        &mut self,
        now: Micros,
        requests: &BTreeMap<u32, Request>,
        stamps: usize,
        log: &mut Log,
    ) -> bool {
        if self.is_silent {
            return false;
        }
        let Some(head) = http::head_end(&self.inbox) else {
            return false;
        };
        let text = String::from_utf8_lossy(&self.inbox[..head]).into_owned();
        let Some(request) = http::id_of(&text).and_then(|id| requests.get(&id)) else {
            return self.complain(format!("a head that nobody sent: {}", text.escape_debug()), log);
        };
        let (plain, found) = without_stamp(&text);
        if plain != http::request_head(request) || found != stamps {
            let what = format!(
                "request {} with {found} stamps: {}",
                request.id,
                text.escape_debug()
            );
            return self.complain(what, log);
        }
        let end = head + request.body_bytes;
        if self.inbox.len() < end {
            return false;
        }
        if !self.inbox[head..end]
            .iter()
            .copied()
            .eq(http::body(request.id, b'a', request.body_bytes))
        {
            return self.complain(format!("the body of request {} is another", request.id), log);
        }
        self.inbox.drain(..end);
        if request.answer.manner != Manner::Refuse {
            log.served.push(request.id);
        }
        self.is_busy = true;
        self.plan(now, request);
        true
    }

    fn complain(&mut self, what: String, log: &mut Log) -> bool {
        log.complaints.push(what);
        self.is_silent = true;
        false
    }

    fn plan(&mut self, now: Micros, request: &Request) {
        let answer = &request.answer;
        let mut at = now + answer.delay;
        match answer.manner {
            Manner::Close => return self.acts.push_back((at, Act::Close)),
            Manner::Reset => return self.acts.push_back((at, Act::Abort)),
            Manner::Silent => {
                self.is_silent = true;
                self.is_busy = false;
                return;
            }
            Manner::Answer | Manner::Refuse | Manner::BreakOff => {}
        }
        for part in http::answer(request) {
            self.acts.push_back((at, Act::Write(part)));
            at += answer.gap;
        }
        if answer.manner == Manner::BreakOff {
            self.acts.push_back((at, Act::Abort));
            return;
        }
        let has_open_end = answer.framing == crate::script::Framing::End && request.method != Method::Head;
        match answer.closes_after {
            Some(after) if !(answer.says_close || has_open_end) => {
                // It takes no more requests, but does not say so.
                self.acts.push_back((at - answer.gap + after, Act::Close));
            }
            Some(after) => self.acts.push_back((at - answer.gap + after, Act::Close)),
            None if answer.says_close || has_open_end => {
                self.acts.push_back((at - answer.gap, Act::Close));
            }
            None => self.acts.push_back((at - answer.gap, Act::Next)),
        }
    }
}

/// A head without what nodes write into it, and how often that was there.
fn without_stamp(head: &str) -> (String, usize) {
    let is_stamp = |line: &&str| line.starts_with("DFaaS-");
    let lines: Vec<&str> = head.split_inclusive("\r\n").collect();
    let count = lines
        .iter()
        .filter(|line| line.starts_with(http::STAMP_FIELD))
        .count();
    (lines.into_iter().filter(|line| !is_stamp(line)).collect(), count)
}
