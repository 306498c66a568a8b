//! The server that all contenders reach: little more than its system calls, so that it is not what is measured.

use std::{
    env,
    fmt::Write as _,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    task::{JoinSet, LocalSet},
};

use crate::machine::connections_a_process;

/// As many connections may wait as a case opens at once, and then some.
const BACKLOG: u32 = 4096;
const THREADS: usize = 2;
/// No head is longer. Small, because every connection has such a buffer.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Uploads are read in pieces of this size.
const PIECE_BYTES: usize = 128 << 10;
const CLOSE: &str = "Connection: close\r\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// A function to list: its name ends with the number of bytes that it answers with, as in near-64
    #[arg(long = "function", value_name = "NAME=RATE")]
    functions: Vec<String>,
    /// How many processes take connections from the one listening socket
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Take the listening socket from standard input
    #[arg(long)]
    is_shared: bool,
}

/// Serves until it is killed.
///
/// # Errors
///
/// When the address cannot be listened on.
pub(crate) fn run(args: &Args) -> Result<()> {
    let listener = if args.is_shared {
        StdListener::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        runtime()?.block_on(async { listen(args.listen) })?
    };
    let mut others = Vec::new();
    for _ in 1..args.processes {
        others.push(share(args, &listener)?);
    }
    let pages = Pages::new(&args.functions)?;
    let serve = |listener: StdListener| -> Result<()> {
        let runtime = runtime()?;
        let accept = async { accept(TcpListener::from_std(listener)?, &pages).await };
        LocalSet::new().block_on(&runtime, accept)
    };
    let serve = || -> Result<()> {
        // One socket, shared: it is the one listener that is lent to the kernel.
        serve(listener.try_clone()?)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(serve)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(())
    })
}

/// Starts another process with the same socket. It ends with the namespace that it is in.
fn share(args: &Args, listener: &StdListener) -> Result<Child> {
    let mut command = Command::new(env::current_exe().context("finding this program")?);
    command.args(["backend", "--is-shared", "--listen", &args.listen.to_string()]);
    command.args(
        args.functions
            .iter()
            .map(|function| format!("--function={function}")),
    );
    let socket = OwnedFd::from(listener.try_clone()?);
    command.stdin(socket).spawn().context("starting another backend")
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

fn listen(address: SocketAddr) -> Result<StdListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(address)
        .with_context(|| format!("listening on {address}"))?;
    Ok(socket.listen(BACKLOG)?.into_std()?)
}

async fn accept(listener: TcpListener, pages: &Pages) -> Result<()> {
    let mut connections = JoinSet::new();
    // Tasks must own what they use, and the pages last as long as the process.
    let pages: &'static Pages = Box::leak(Box::new(pages.clone()));
    let most = connections_a_process() / THREADS;
    loop {
        while connections.len() >= most {
            connections.join_next().await;
        }
        let (stream, _) = listener.accept().await?;
        connections.spawn_local(async move {
            // A client that goes away is the client's business.
            let _ = serve(stream, pages).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, pages: &Pages) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; HEAD_BYTES_MAX];
    let mut piece = Vec::new();
    let mut filled = 0;
    loop {
        let head_bytes = loop {
            if let Some(end) = head_end(&buffer[..filled]) {
                break end;
            }
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        let request = Request::read(&buffer[..head_bytes]);
        let page = pages.of(request.path);
        let (close, mut body_left) = (request.close, request.body_bytes);
        let there = body_left.min(filled - head_bytes);
        body_left -= there;
        buffer.copy_within(head_bytes + there..filled, 0);
        filled -= head_bytes + there;
        while body_left > 0 {
            piece.resize(PIECE_BYTES, 0);
            let most = body_left.min(PIECE_BYTES);
            let read = stream.read(&mut piece[..most]).await?;
            if read == 0 {
                return Ok(());
            }
            body_left -= read;
        }
        if close {
            stream.write_all(&page.last).await?;
            return stream.shutdown().await;
        }
        stream.write_all(&page.kept).await?;
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    // Most requests come alone, and end where their head does.
    if bytes.ends_with(b"\r\n\r\n") && bytes.starts_with(b"GET ") {
        return Some(bytes.len());
    }
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(at + 4)
}

/// What has to be known of a request.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    path: &'a [u8],
    close: bool,
    body_bytes: usize,
}

impl<'a> Request<'a> {
    fn read(head: &'a [u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let path = first.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let mut request = Self {
            path,
            close: false,
            body_bytes: 0,
        };
        for line in lines {
            if let Some(value) = field(line, b"content-length:") {
                request.body_bytes = value.parse().unwrap_or_default();
            } else if let Some(value) = field(line, b"connection:") {
                request.close = value.eq_ignore_ascii_case("close");
            }
        }
        request
    }
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let (start, value) = line.split_at_checked(name.len())?;
    let value = start.eq_ignore_ascii_case(name).then_some(value)?;
    str::from_utf8(value).ok().map(str::trim)
}

/// Whole responses.
#[derive(Clone, Debug)]
struct Pages {
    functions: Vec<(Vec<u8>, Page)>,
    listing: Page,
    missing: Page,
}

#[derive(Clone, Debug)]
struct Page {
    kept: Vec<u8>,
    last: Vec<u8>,
}

impl Pages {
    fn new(functions: &[String]) -> Result<Self> {
        let mut pages = Vec::new();
        let mut listing = Vec::new();
        for function in functions {
            let (name, rate) = function
                .split_once('=')
                .with_context(|| format!("{function} has no rate"))?;
            let bytes = name.rsplit_once('-').and_then(|(_, bytes)| bytes.parse().ok());
            let bytes: usize = bytes.with_context(|| format!("{name} does not end with a number"))?;
            pages.push((
                format!("/function/{name}").into_bytes(),
                Page::new("200 OK", &vec![b'x'; bytes]),
            ));
            listing.push(serde_json::json!({
                "name": name,
                "image": "bench",
                "availableReplicas": 1,
                "replicas": 1,
                "labels": { "dfaas.maxrate": rate },
            }));
        }
        Ok(Self {
            functions: pages,
            listing: Page::new("200 OK", serde_json::to_string(&listing)?.as_bytes()),
            missing: Page::new("404 Not Found", b""),
        })
    }

    fn of(&self, path: &[u8]) -> &Page {
        let found = self.functions.iter().find(|(name, _)| name == path);
        match found {
            Some((_, page)) => page,
            None if path == b"/system/functions" => &self.listing,
            None => &self.missing,
        }
    }
}

impl Page {
    fn new(status: &str, body: &[u8]) -> Self {
        let with = |field: &str| {
            let mut head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{field}");
            let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        Self {
            kept: with(""),
            last: with(CLOSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_of_a_head_is_read() {
        let head = b"POST /function/a-1 HTTP/1.1\r\ncontent-length: 7\r\nConnection: Close\r\n\r\n";
        let want = Request {
            path: b"/function/a-1",
            close: true,
            body_bytes: 7,
        };
        assert_eq!(Request::read(head), want);
        assert_eq!(head_end(head), Some(head.len()));
        assert_eq!(
            head_end(&[head.as_slice(), b"1234567"].concat()),
            Some(head.len())
        );
        assert_eq!(head_end(&head[..head.len() - 1]), None);
    }

    #[test]
    fn pages_have_the_size_that_the_name_says() {
        let pages = Pages::new(&["near-64=10".to_owned()]).unwrap();
        let page = &pages.of(b"/function/near-64").kept;
        assert!(page.ends_with(&[&b"\r\n\r\n"[..], &[b'x'; 64]].concat()));
        assert!(pages.of(b"/system/functions").kept.ends_with(b"]"));
        assert!(pages.of(b"/other").kept.starts_with(b"HTTP/1.1 404 "));
        assert!(Pages::new(&["near=10".to_owned()]).is_err());
    }
}
