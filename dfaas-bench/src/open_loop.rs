//! An open loop: requests are due at a constant rate, whether or not those before them have been answered.
//!
//! Times are taken from when a request was due, not from when a connection was free for it, so that a server that
//! stands still is charged for all who would have come meanwhile.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dfaas_testbed::now;
use rustix::{
    event::{
        PollFd, PollFlags, Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
        poll,
    },
    fd::OwnedFd,
    io::Errno,
    thread::gettid,
};

use crate::{
    case::Case,
    contender::Contender,
    site::{Site, Url},
};

/// How long answers may be waited for when all requests have been sent.
const PATIENCE: Duration = Duration::from_secs(5);
const EVENTS_MAX: usize = 64;
const BUFFER_BYTES: usize = 64 << 10;

/// Asks at a rate for a time, and returns the nanoseconds that each request took.
///
/// # Errors
///
/// When an answer is not 200 or does not come.
pub(crate) fn run(
    site: &Site,
    contender: Contender,
    case: &Case,
    rate_rps: f64,
    duration: Duration,
) -> Result<Vec<u64>> {
    let url = site.url(contender, case);
    let request = request(&url, &case.fields(site.second_id()));
    let run = || -> Result<Vec<u64>> {
        be_punctual()?;
        let mut loop_ = OpenLoop::connect(&url, case.clients as usize, request)?;
        loop_.run(rate_rps, duration)
    };
    site.client.on_thread(run)?.with_context(|| {
        format!(
            "{} through {} at {rate_rps:.0} a second",
            case.name,
            contender.name()
        )
    })
}

fn request(url: &Url, fields: &[String]) -> Vec<u8> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
        url.path, url.address
    )
    .into_bytes()
}

/// Asks the kernel to wake this thread when it wants to be woken, not up to 50 microseconds later.
fn be_punctual() -> Result<()> {
    let file = format!("/proc/{}/timerslack_ns", gettid().as_raw_nonzero());
    fs::write(&file, "1").with_context(|| format!("writing {file}"))
}

struct OpenLoop {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    request: Vec<u8>,
    buffer: Vec<u8>,
    samples: Vec<u64>,
}

struct Connection {
    stream: TcpStream,
    due: Option<Instant>,
    received: Vec<u8>,
    /// How much is still to come of an answer whose head is there.
    left: Option<usize>,
}

impl OpenLoop {
    fn connect(url: &Url, connections: usize, request: Vec<u8>) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut all = Vec::new();
        for index in 0..connections {
            let stream = TcpStream::connect(url.address).context("connecting")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(
                &epoll,
                &stream,
                EventData::new_u64(index as u64),
                EventFlags::IN | EventFlags::RDHUP,
            )?;
            all.push(Connection {
                stream,
                due: None,
                received: Vec::new(),
                left: None,
            });
        }
        Ok(Self {
            epoll,
            idle: (0..all.len()).collect(),
            connections: all,
            request,
            buffer: vec![0; BUFFER_BYTES],
            samples: Vec::new(),
        })
    }

    fn run(&mut self, rate_rps: f64, duration: Duration) -> Result<Vec<u64>> {
        let count = (rate_rps * duration.as_secs_f64()) as usize;
        let start = now();
        let due = |number: usize| start + Duration::from_secs_f64(number as f64 / rate_rps);
        let mut sent = 0;
        while self.samples.len() < count {
            let present = now();
            while sent < count && due(sent) <= present {
                let Some(index) = self.idle.pop() else { break };
                self.send(index, due(sent))?;
                sent += 1;
            }
            let is_next_known = sent < count && !self.idle.is_empty();
            let wake = if is_next_known {
                due(sent)
            } else {
                present + PATIENCE
            };
            ensure!(
                present < start + duration + PATIENCE,
                "{} of {count} answers did not come",
                count - self.samples.len()
            );
            self.receive(wake.saturating_duration_since(now()))?;
        }
        Ok(std::mem::take(&mut self.samples))
    }

    fn send(&mut self, index: usize, due: Instant) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.due = Some(due);
        // A request fits into an empty send buffer.
        connection
            .stream
            .write_all(&self.request)
            .context("sending a request")
    }

    fn receive(&mut self, at_most: Duration) -> Result<()> {
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS_MAX];
        let timeout = Timespec::try_from(at_most).context("a time to wait")?;
        // `epoll_wait` counts in milliseconds, `ppoll` in nanoseconds.
        let mut ready = [PollFd::new(&self.epoll, PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error).context("waiting for answers"),
        }
        let count = epoll::wait(&self.epoll, &mut events[..], Some(&Timespec::default()))?;
        let there = &events[..count];
        for event in there {
            let index = event.data.u64() as usize;
            let connection = &mut self.connections[index];
            if connection.read(&mut self.buffer)? {
                let due = connection.due.take().context("an answer that nobody asked for")?;
                self.samples.push(now().duration_since(due).as_nanos() as u64);
                self.idle.push(index);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads what there is. Returns whether that completes an answer.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("reading an answer"),
            };
            if self.take(&buffer[..count])? {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        let left = match self.left {
            Some(left) => left,
            None => {
                self.received.extend_from_slice(bytes);
                let Some(whole) = answer_bytes(&self.received)? else {
                    return Ok(false);
                };
                let left = whole + bytes.len() - self.received.len();
                self.received.clear();
                left
            }
        };
        let left = left
            .checked_sub(bytes.len())
            .context("more came than was asked for")?;
        self.left = (left > 0).then_some(left);
        Ok(left == 0)
    }
}

/// How long an answer is, once its head is there.
fn answer_bytes(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = str::from_utf8(&bytes[..head]).context("a head that is no text")?;
    ensure!(text.starts_with("HTTP/1.1 200 "), "the answer was {text}");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.with_context(|| format!("no length in {text}"))?;
    Ok(Some(head + 4 + length))
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        thread::{self, sleep},
    };

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";

    #[test]
    fn answers_end_where_their_length_says() {
        for at in 1..ANSWER.len() {
            let mut connection = connection();
            assert!(!connection.take(&ANSWER[..at]).unwrap(), "at {at}");
            assert!(connection.take(&ANSWER[at..]).unwrap(), "at {at}");
        }
        assert!(connection().take(&[ANSWER, b"d"].concat()).is_err());
        assert!(
            connection()
                .take(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
                .is_err()
        );
        assert!(connection().take(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    /// Four requests are due while the server sleeps; a closed loop would only have sent and charged one.
    #[test]
    fn a_pause_is_charged_to_all_who_were_due() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 1024];
            for number in 0..5 {
                assert!(stream.read(&mut bytes).unwrap() > 0);
                if number == 0 {
                    sleep(Duration::from_millis(100));
                }
                stream.write_all(ANSWER).unwrap();
            }
        });
        let url = Url {
            address,
            path: "/".to_owned(),
        };
        let request = request(&url, &[]);
        let mut open = OpenLoop::connect(&url, 1, request).unwrap();
        let samples = open.run(50.0, Duration::from_millis(100)).unwrap();
        server.join().unwrap();
        assert_eq!(samples.len(), 5);
        for (number, sample) in samples.iter().enumerate() {
            // Due 20 ms after one another, and answered no earlier than after the pause.
            let least = Duration::from_millis(100 - 20 * number as u64).as_nanos() as u64;
            assert!(*sample >= least, "{number}: {samples:?}");
        }
    }

    /// A generator that wakes by the millisecond would measure itself.
    #[test]
    fn requests_leave_when_they_are_due() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 1024];
            while stream.read(&mut bytes).unwrap() > 0 {
                stream.write_all(ANSWER).unwrap();
            }
        });
        let url = Url {
            address,
            path: "/".to_owned(),
        };
        be_punctual().unwrap();
        let mut open = OpenLoop::connect(&url, 1, request(&url, &[])).unwrap();
        // Due 333 microseconds after one another, which no multiple of a millisecond is.
        let mut samples = open.run(3000.0, Duration::from_millis(500)).unwrap();
        drop(open);
        server.join().unwrap();
        samples.sort_unstable();
        // The quickest third: beside compilers, others may wait for a processor.
        let quick = samples[samples.len() / 3];
        assert!(quick < 300_000, "{quick} ns");
    }

    fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Connection {
            stream: TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
            due: None,
            received: Vec::new(),
            left: None,
        }
    }
}
