//! What differs between a server behind the data plane and the same server alone.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    process::ExitCode,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Question,
    exchange::{End, Seen},
};

/// What the data plane may add to any time.
const LATER: Duration = Duration::from_millis(100);
/// So many servers are a result.
const SERVERS_MIN: usize = 12;

/// How an answer through the data plane compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same bytes, the same end, at the same time.
    Same,
    /// What nobody had asked for is left out, or the connection ended behind it.
    Mended,
    /// More requests were answered than without it.
    More,
    /// The server ended without an answer, and the client was told (502).
    Told,
    /// The same answer with other fields about the connection.
    Varied,
    /// The same answer, and the client does not see that its server ends behind it without having said so.
    Kept,
    /// The same, but later.
    Late(String),
    /// Anything else.
    Differs(String),
}

/// What a question gave on a way.
pub(super) struct Line {
    server: String,
    way: &'static str,
    question: &'static str,
    verdict: Verdict,
}

/// All that was asked.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Verdict {
    fn of(question: &Question, expected: &Seen, seen: &Seen) -> Self {
        if seen.text == expected.text && seen.end == expected.end {
            return match is_late(expected, seen) {
                None => Self::Same,
                Some(text) => Self::Late(text),
            };
        }
        if question.may_vary && status(&seen.text).is_some() && status(&seen.text) == status(&expected.text) {
            return Self::Varied;
        }
        let is_silent =
            expected.text.starts_with("HTTP/1.1 ") && !expected.text.contains("\nconnection: close");
        if seen.text == expected.text && is_silent && (expected.end, seen.end) == (End::Closed, End::Open) {
            return Self::Kept;
        }
        if question.may_end && is_part(&expected.text, &seen.text) {
            return Self::Mended;
        }
        if let Some(rest) = seen.text.strip_prefix(&expected.text) {
            let lines = rest.lines().filter(|line| line.starts_with("HTTP/"));
            let mut statuses = lines.filter_map(|line| line.split(' ').nth(1)).peekable();
            if expected.text.is_empty() && rest.starts_with("HTTP/1.1 502 ") {
                return Self::Told;
            }
            if statuses.peek().is_some() && statuses.all(|status| status == "200") {
                return Self::More;
            }
        }
        let text = [expected, seen].map(|seen| format!("{} {}", seen.text.escape_debug(), seen.end));
        Self::Differs(format!("alone: {}\n      here:  {}", text[0], text[1]))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Mended => "mended",
            Self::More => "more",
            Self::Told => "told",
            Self::Varied => "varied",
            Self::Kept => "kept",
            Self::Late(_) => "late",
            Self::Differs(_) => "differs",
        }
    }
}

/// The status code of the first answer.
fn status(text: &str) -> Option<&str> {
    text.lines().next()?.split(' ').nth(1)
}

/// Whether these are lines of the whole, in their order, with its first status line.
fn is_part(whole: &str, part: &str) -> bool {
    let mut lines = whole.lines();
    !part.is_empty() && part.lines().all(|line| lines.any(|other| other == line))
}

/// Says which time is longer than it may be.
fn is_late(expected: &Seen, seen: &Seen) -> Option<String> {
    if seen.times.len() == expected.times.len() {
        let slowest = expected.times.iter().max().copied().unwrap_or_default();
        let is_repeated = expected.times.len() > 6;
        let mut pairs = expected.times.iter().zip(&seen.times);
        return pairs.find_map(|(alone, here)| {
            let alone = if is_repeated { slowest } else { *alone };
            (*here > alone + LATER).then(|| format!("after {here:.0?}, alone after {alone:.0?}"))
        });
    }
    Some(format!("at {:.0?}, alone at {:.0?}", seen.times, expected.times))
}

impl Line {
    pub(super) fn new(
        server: &str,
        way: &'static str,
        question: &Question,
        expected: &Seen,
        seen: &Seen,
    ) -> Self {
        Self {
            server: server.to_owned(),
            way,
            question: question.name,
            verdict: Verdict::of(question, expected, seen),
        }
    }
}

impl Line {
    /// Whether it is worth another try, or a fault.
    pub(super) fn differs(&self) -> bool {
        matches!(self.verdict, Verdict::Differs(_) | Verdict::Late(_))
    }
}

impl Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            way,
            question,
            verdict,
        } = self;
        let name = verdict.name();
        writeln!(formatter, "{server:<18}{way:<11}{question:<28}{name}")?;
        if let Verdict::Differs(text) | Verdict::Late(text) = verdict {
            writeln!(formatter, "      {text}")?;
        }
        Ok(())
    }
}

impl Report {
    pub(super) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    fn counts(&self) -> BTreeMap<&str, BTreeMap<&'static str, usize>> {
        let mut counts: BTreeMap<&str, BTreeMap<_, _>> = BTreeMap::new();
        for line in &self.lines {
            let server = counts.entry(&line.server).or_default();
            *server.entry(line.verdict.name()).or_default() += 1;
        }
        counts
    }

    fn differing(&self) -> usize {
        self.lines.iter().filter(|line| line.differs()).count()
    }

    pub(super) fn json(&self) -> Value {
        let lines = self.lines.iter().map(|line| {
            json!({
                "server": line.server,
                "way": line.way,
                "question": line.question,
                "verdict": line.verdict.name(),
            })
        });
        json!({
            "servers": self.counts(),
            "differing": self.differing(),
            "lines": lines.collect::<Vec<_>>(),
        })
    }

    /// Whether nothing differs.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(self.differing() > 0))
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        for (server, counts) in &counts {
            let counts: Vec<_> = counts
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            writeln!(formatter, "{server:<18}{}", counts.join(", "))?;
        }
        let servers = counts.len();
        if servers < SERVERS_MIN {
            writeln!(
                formatter,
                "servers: {servers} of them; {SERVERS_MIN} are a result"
            )?;
        }
        write!(
            formatter,
            "servers: {} questions to {servers} servers, {} answered otherwise than alone",
            self.lines.len(),
            self.differing()
        )
    }
}
