//! What may become of a request.

use std::collections::BTreeMap;

use crate::{
    MILLISECOND, Micros, http,
    network::{Kind, Mishap},
    outcome::{Asked, Fate, Finding, Report, Wrong},
    script::{Client, Ending, Framing, Function, Listening, Manner, Method, Request, Script},
};

/// A retransmission takes 200 ms; who waits for less has not waited for one.
const STALL: Micros = 190 * MILLISECOND;

/// So many lost packets can make a peer seem silent.
const SILENCE: usize = 3;
/// What is held of a head in parts, in bytes: what a client sends beyond it waits for its retransmission.
const HELD: usize = 1_280;

/// Says what is wrong with what became of the requests.
pub(crate) fn judge(script: &Script, decides: bool, report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_quiet = !report.mishaps.iter().any(Mishap::is_harmful);
    let is_lost = |mishap: &&Mishap| mishap.kind == Kind::Lost;
    let losses = report.mishaps.iter().filter(is_lost).count();
    let mut asked = report.asked.iter();
    for client in &script.clients {
        let all: Vec<&Asked> = asked.by_ref().take(client.requests.len()).collect();
        for index in 0..all.len() {
            let case = Case {
                script,
                client,
                index,
                all: &all,
                decides,
                is_quiet,
                losses,
            };
            findings.extend(case.judge());
        }
    }
    findings.extend(runs(script, is_quiet, report));
    findings
}

/// What ran more often than it may.
fn runs(script: &Script, is_quiet: bool, report: &Report) -> Vec<Finding> {
    let mut served: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (host, id) in &report.served {
        served.entry(*id).or_default().push(host);
    }
    let is_wrong = |request: &Request, count: usize| {
        count > 1 && (request.method == Method::Post || (is_quiet && request.answer.manner == Manner::Answer))
    };
    let mut findings = Vec::new();
    for request in script.requests() {
        let hosts = served.get(&request.id).map_or(&[][..], Vec::as_slice);
        if is_wrong(request, hosts.len()) {
            findings.push(Finding {
                wrong: Wrong::Twice,
                text: format!("request {} ({:?}) ran at {hosts:?}", request.id, request.method),
            });
        }
    }
    findings
}

/// One request among those of its client.
struct Case<'a> {
    script: &'a Script,
    client: &'a Client,
    index: usize,
    all: &'a [&'a Asked],
    decides: bool,
    is_quiet: bool,
    /// How many packets were lost.
    losses: usize,
}

impl Case<'_> {
    fn request(&self) -> &Request {
        &self.client.requests[self.index]
    }

    fn judge(&self) -> Vec<Finding> {
        let asked = self.all[self.index];
        match &asked.fate {
            Fate::Unasked => Vec::new(),
            Fate::Waiting => self.wrong(Wrong::Hang, "its client still waits"),
            Fate::GivenUp => {
                // A reset that is lost is not sent again, whoever sends it.
                let mut chain = self.client.requests.iter().take(self.index + 1 + self.behind());
                let is_lost =
                    !self.is_quiet && chain.any(if self.decides { resets } else { ends_connection });
                let may_wait = is_lost
                    || self.has_manner(Manner::Silent)
                    || matches!(self.client.ending, Ending::Reset(_));
                self.unless(may_wait, Wrong::Hang, "its client has lost patience")
            }
            Fate::Ended(reason) => {
                let text = format!("its connection has ended ({reason:?})");
                self.unless(self.may_end(), Wrong::Broken, &text)
            }
            Fate::Answered(read) => {
                let mut findings = self.judge_answer(read);
                findings.extend(self.judge_time(asked));
                findings
            }
        }
    }

    fn judge_answer(&self, read: &http::Read) -> Vec<Finding> {
        let request = self.request();
        let text = format!("it is told {} of {:?}", read.status, read.id);
        if read.id.is_some_and(|id| id != request.id) {
            return self.wrong(Wrong::Mixed, &text);
        }
        if read.id.is_none() || read.status != 200 {
            return self.unless(self.may_refuse(read), Wrong::Broken, &text);
        }
        if self.refusal().is_some() {
            return self.wrong(Wrong::Broken, "it ought to be refused, and is answered");
        }
        let has_body = request.method != Method::Head;
        let length = if has_body { request.answer.body_bytes } else { 0 };
        let is_right = http::body(request.id, b'A', length).eq(read.body.iter().copied());
        let is_cut = request.answer.manner == Manner::BreakOff;
        self.unless(is_right || is_cut, Wrong::Mixed, "its answer has another body")
    }

    /// What a data plane answers in any case.
    fn refusal(&self) -> Option<u16> {
        match self.request().function {
            Function::Unknown if self.decides => Some(404),
            Function::Full if self.decides => Some(503),
            Function::Outside if self.decides => Some(403),
            Function::Unknown | Function::Full | Function::Outside => None,
            Function::Here | Function::Away | Function::Shared => None,
        }
    }

    fn may_refuse(&self, read: &http::Read) -> bool {
        if let Some(status) = self.refusal() {
            return read.status == status && read.id.is_none();
        }
        let manner = self.request().answer.manner;
        match read.status {
            502 => {
                // A server that is silent closes when its client does.
                let has_closed = manner == Manner::Silent && self.client.ending == Ending::HalfClose;
                has_closed || matches!(manner, Manner::Close | Manner::Reset | Manner::BreakOff)
            }
            503 => {
                let may_fail = matches!(
                    manner,
                    Manner::Close | Manner::Reset | Manner::Refuse | Manner::Silent
                );
                may_fail || self.may_be_refused() || self.may_have_run()
            }
            _ => false,
        }
    }

    /// Whether a peer may seem to be silent about a request that runs once only.
    fn may_have_run(&self) -> bool {
        let request = self.request();
        request.method == Method::Post && request.function != Function::Here && self.losses >= SILENCE
    }

    /// Whether a server where it may go takes no connections.
    fn may_be_refused(&self) -> bool {
        let refuses = |listening: &Listening| *listening == Listening::Refuses;
        let (here, peers) = self.script.listening.split_at(1);
        let is_away = self.request().function != Function::Here;
        here.iter().any(refuses) || (is_away && peers.iter().any(refuses))
    }

    /// How many requests follow without waiting for its answer.
    fn behind(&self) -> usize {
        let behind = self.client.requests[self.index + 1..].iter();
        behind.take_while(|next| next.is_pipelined).count()
    }

    fn has_manner(&self, manner: Manner) -> bool {
        let upto = &self.client.requests[..=self.index];
        upto.iter().any(|request| request.answer.manner == manner)
    }

    /// Whether the connection may end without an answer to it.
    fn may_end(&self) -> bool {
        let requests = &self.client.requests;
        let own = self.request().answer.manner;
        let is_own = own != Manner::Answer;
        let was_told = self.all[..self.index]
            .iter()
            .any(|asked| matches!(&asked.fate, Fate::Answered(read) if read.says_close));
        // A request may cross the end of a server that has answered another.
        // Who closes with requests unread resets, and may take its last answer along (RFC 9112, section 9.6).
        let behind = &requests[self.index + 1..][..self.behind()];
        let is_cut_off =
            (!behind.is_empty() && ends_connection(self.request())) || behind.iter().any(ends_connection);
        is_own
            || was_told
            || (!self.decides && is_cut_off)
            || requests[..self.index].iter().any(ends_connection)
            || requests[..=self.index]
                .iter()
                .any(|request| request.answer.has_wrong_body)
            || matches!(self.client.ending, Ending::Reset(_))
            || (!self.decides && self.may_be_refused())
    }

    /// Whether it had to wait for a retransmission although no packet was lost.
    fn judge_time(&self, asked: &Asked) -> Vec<Finding> {
        let delays: Micros = self.script.networks.iter().map(|network| 2 * network.delay).sum();
        let allowance = 100 * MILLISECOND + 4 * delays;
        let is_free = |listening: &Listening| matches!(listening, Listening::Early | Listening::Late);
        let upto = &self.client.requests[..=self.index];
        let is_long_in_parts =
            |request: &Request| !request.cuts.is_empty() && http::request(request).len() > HELD;
        let is_plain = self.script.listening.iter().all(is_free)
            && upto.iter().all(|request| {
                !request.is_pipelined
                    && request.answer.manner == Manner::Answer
                    && !request.answer.has_wrong_body
            });
        if !self.is_quiet
            || !is_plain
            || self.behind() > 0
            || upto.iter().any(is_long_in_parts)
            || allowance > STALL
        {
            return Vec::new();
        }
        let mut began = asked.whole_at.unwrap_or(asked.asked_at);
        let mut needs = 0;
        for (before, request) in self.all[..=self.index].iter().zip(upto) {
            if before.ended_at <= began && before.id != asked.id {
                continue;
            }
            needs += request.answer.delay
                + request.answer.gap * Micros::from(request.answer.writes)
                + request.answer.closes_after.unwrap_or(0);
            // Each of several that are pipelined may take a turn of its own.
            needs += if before.id == asked.id { 0 } else { allowance };
            began = began.min(before.whole_at.unwrap_or(began));
        }
        let took = asked.ended_at - began;
        let text = format!("it took {} ms, and needs {}", took / 1_000, needs / 1_000);
        self.unless(took <= needs + STALL, Wrong::Stall, &text)
    }

    fn unless(&self, is_right: bool, wrong: Wrong, text: &str) -> Vec<Finding> {
        if is_right {
            Vec::new()
        } else {
            self.wrong(wrong, text)
        }
    }

    fn wrong(&self, wrong: Wrong, text: &str) -> Vec<Finding> {
        let request = self.request();
        vec![Finding {
            wrong,
            text: format!(
                "request {} ({:?} {:?}): {text}",
                request.id, request.method, request.function
            ),
        }]
    }
}

/// Whether a server may reset: in its answer, or because it closes with the next request unread.
fn resets(request: &Request) -> bool {
    matches!(request.answer.manner, Manner::Reset | Manner::BreakOff) || request.answer.closes_after.is_some()
}

/// Whether a request may be the last of its connection.
fn ends_connection(request: &Request) -> bool {
    let answer = &request.answer;
    answer.manner != Manner::Answer
        || answer.says_close
        || answer.closes_after.is_some()
        || answer.framing == Framing::End
        || request.says_close
}
