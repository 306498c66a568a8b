//! What is asked of each server.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    Seen, Way,
    exchange::{End, Exchange},
};

const PARTS: &str = "?do=parts";
const LATE: &str = "?do=late";
const BODY_BYTES: usize = 100_000;
/// What must be waited for before a request that comes in two parts goes on.
const PAUSE: Duration = Duration::from_millis(50);

/// A question.
pub(super) struct Question {
    pub(super) name: &'static str,
    /// Whether a server may break the framing of its answer here: whoever notices may mend that, or end the connection.
    pub(super) may_end: bool,
    /// Whether fields about the connection may differ: HAProxy takes such requests (RFC 9110, section 7.6.1), or the server
    /// does not learn of its client's end before it has answered.
    pub(super) may_vary: bool,
    steps: fn(&Way<'_>, &mut Exchange) -> Result<()>,
    /// How often it is asked as clients do, which send a GET again whose kept connection has ended without an answer
    /// (RFC 9112, section 9.3.1), and the pause between two.
    as_clients_do: Option<(usize, Duration)>,
}

const fn question(name: &'static str, steps: fn(&Way<'_>, &mut Exchange) -> Result<()>) -> Question {
    Question {
        name,
        may_end: false,
        may_vary: false,
        steps,
        as_clients_do: None,
    }
}

const fn repeated(name: &'static str, times: usize, pause_ms: u64) -> Question {
    Question {
        as_clients_do: Some((times, Duration::from_millis(pause_ms))),
        ..question(name, get)
    }
}

pub(super) const ALL: &[Question] = &[
    repeated("40 GETs", 40, 0),
    repeated("10 GETs, 3 ms apart", 10, 3),
    repeated("10 GETs, 25 ms apart", 10, 25),
    repeated("2 GETs, 2 s apart", 2, 2000),
    question("two GETs", |way, exchange| {
        get(way, exchange)?;
        get(way, exchange)
    }),
    question("parts", |way, exchange| {
        said(exchange, &way.request("GET", PARTS, "1.1", ""))
    }),
    question("parts on a kept connection", |way, exchange| {
        get(way, exchange)?;
        said(exchange, &way.request("GET", PARTS, "1.1", ""))
    }),
    Question {
        may_end: true,
        ..question("HEAD, GET", |way, exchange| {
            said(exchange, &way.request("HEAD", "", "1.1", ""))?;
            get(way, exchange)
        })
    },
    Question {
        may_end: true,
        ..question("HEAD of parts, GET", |way, exchange| {
            said(exchange, &way.request("HEAD", PARTS, "1.1", ""))?;
            get(way, exchange)
        })
    },
    question("POST", |way, exchange| said(exchange, &post(way, ""))),
    Question {
        may_vary: true,
        ..question("POST in chunks", |way, exchange| {
            let mut request = way.request("POST", "", "1.1", "Transfer-Encoding: chunked\r\n");
            request.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n");
            said(exchange, &request)
        })
    },
    question("Expect: 100-continue", |way, exchange| {
        let request = post(way, "Expect: 100-continue\r\n");
        let (head, body) = request.split_at(request.len() - BODY_BYTES);
        exchange.send(head);
        exchange.listen(|received| received.ends_with(b"\r\n\r\n"))?;
        said(exchange, body)
    }),
    question("HTTP/1.0, kept", |way, exchange| {
        let request = way.request("GET", "", "1.0", "Connection: keep-alive\r\n");
        said(exchange, &request)?;
        said(exchange, &request)
    }),
    question("Connection: close", |way, exchange| {
        said(exchange, &way.request("GET", "", "1.1", "Connection: close\r\n"))
    }),
    Question {
        may_vary: true,
        ..question("half-closed", |way, exchange| {
            exchange.send(&way.request("GET", LATE, "1.1", ""));
            exchange.close_half();
            exchange.listen(|_| false)
        })
    },
    question("three pipelined", |way, exchange| {
        said(exchange, &way.request("GET", "", "1.1", "").repeat(3))
    }),
    question("a head in two parts", |way, exchange| {
        let request = way.request("GET", "", "1.1", "X-Long: x\r\n");
        let (first, last) = request.split_at(request.len() / 2);
        exchange.send(first);
        thread::sleep(PAUSE);
        said(exchange, last)
    }),
    question("BREW", |way, exchange| {
        said(exchange, &way.request("BREW", "", "1.1", ""))
    }),
];

impl Question {
    /// Asks it.
    ///
    /// # Errors
    ///
    /// When nobody listens.
    pub(super) fn ask(&self, way: &Way<'_>) -> Result<Seen> {
        let Some((times, pause)) = self.as_clients_do else {
            let mut exchange = way.connect()?;
            (self.steps)(way, &mut exchange)?;
            return Ok(exchange.finish());
        };
        let mut client = Client::default();
        for _ in 0..times {
            client.ask(way)?;
            thread::sleep(pause);
        }
        Ok(client.seen)
    }
}

/// A client that keeps its connection, and sends a GET again whose kept connection ends without a byte.
#[derive(Default)]
struct Client {
    kept: Option<Exchange>,
    seen: Seen,
}

impl Client {
    fn ask(&mut self, way: &Way<'_>) -> Result<()> {
        if let Some(exchange) = self.kept.take()
            && self.ask_on(way, exchange, true)?
        {
            return Ok(());
        }
        let exchange = way.connect()?;
        self.ask_on(way, exchange, false)?;
        Ok(())
    }

    /// Whether there was an answer, or no other connection is worth a try.
    fn ask_on(&mut self, way: &Way<'_>, mut exchange: Exchange, was_kept: bool) -> Result<bool> {
        let before = exchange.received().len();
        exchange.send(&way.request("GET", "", "1.1", ""));
        exchange.listen(is_whole)?;
        let answer = String::from_utf8_lossy(&exchange.received()[before..]).into_owned();
        let copy = exchange.seen();
        if answer.is_empty() && was_kept && copy.end != End::Open {
            return Ok(false);
        }
        let line = answer.lines().next().unwrap_or("nothing");
        self.seen.text += &format!("{line}\n");
        self.seen.times.extend(copy.times.last());
        let closes = answer.to_ascii_lowercase().contains("\r\nconnection: close");
        if copy.end == End::Open && !closes {
            self.kept = Some(exchange);
        }
        Ok(true)
    }
}

/// Whether a short answer is whole: its body is one line.
fn is_whole(received: &[u8]) -> bool {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n");
    head.is_some_and(|head| {
        let body = &received[head + 4..];
        body.starts_with(b"ok ") && body.ends_with(b"\n") || body.ends_with(b"\r\n0\r\n\r\n")
    })
}

fn get(way: &Way<'_>, exchange: &mut Exchange) -> Result<()> {
    said(exchange, &way.request("GET", "", "1.1", ""))
}

fn post(way: &Way<'_>, fields: &str) -> Vec<u8> {
    let fields = format!("Content-Length: {BODY_BYTES}\r\n{fields}");
    let mut request = way.request("POST", "", "1.1", &fields);
    request.resize(request.len() + BODY_BYTES, b'x');
    request
}

/// Sends bytes and takes all that is said to them.
fn said(exchange: &mut Exchange, bytes: &[u8]) -> Result<()> {
    exchange.send(bytes);
    exchange.listen(|_| false)
}
