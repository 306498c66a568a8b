//! A server that tells what it was asked, and a client that tells what it was answered.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Nothing here takes long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a server on a port of the loopback and returns its address.
///
/// It answers with its name, the `DFaaS-Node-ID`, the target and the number of bytes of the body.
pub(super) async fn serve(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(name, Stream::new(stream)));
        }
    });
    address
}

async fn converse(name: &'static str, mut stream: Stream) -> Option<()> {
    loop {
        let head = stream.head().await?;
        if field(&head, "upgrade").is_some() {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
            stream.send(answer.as_bytes()).await;
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = stream.0.read(&mut bytes).await {
                stream.send(&bytes[..count]).await;
            }
            return None;
        }
        let body = stream.body(&head).await?;
        let sender = field(&head, "dfaas-node-id").unwrap_or("-");
        let target = head.split(' ').nth(1)?;
        let text = format!("{name} {sender} {target} {}", body.len());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.send(answer.as_bytes()).await;
    }
}

/// A connection.
pub(super) struct Stream(BufReader<TcpStream>);

/// An answer: its status, its head and its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Stream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    pub(super) async fn connect(port: u16) -> Self {
        Self::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // Whoever does not listen any more is missed when he does not answer.
        let _ = self.0.write_all(bytes).await;
    }

    /// Sends a request of which only target and fields matter, and waits for its answer.
    pub(super) async fn get(&mut self, target: &str, fields: &str) -> Answer {
        let request = format!("GET {target} HTTP/1.1\r\nHost: node\r\n{fields}\r\n");
        self.send(request.as_bytes()).await;
        self.answer().await
    }

    pub(super) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.try_answer())
            .await
            .expect("an answer in time")
            .expect("a whole answer")
    }

    async fn try_answer(&mut self) -> Option<Answer> {
        let head = self.head().await?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let has_body = status != 101;
        let body = if has_body {
            self.body(&head).await?
        } else {
            Vec::new()
        };
        Some(Answer {
            status,
            head,
            body: String::from_utf8(body).ok()?,
        })
    }

    pub(super) async fn exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = timeout(PATIENCE, self.0.read_exact(&mut bytes));
        read.await.expect("bytes in time").expect("all the bytes");
        bytes
    }

    async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        String::from_utf8(head).ok()
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.ok()?);
        }
        String::from_utf8(line).ok()
    }

    async fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        if field(head, "transfer-encoding").is_none() {
            let length = field(head, "content-length").map_or(0, |length| length.parse().unwrap());
            return self.bytes(length).await;
        }
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(self.line().await?.trim(), 16).ok()?;
            body.extend(self.bytes(length).await?);
            self.line().await?;
            if length == 0 {
                return Some(body);
            }
        }
    }

    async fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }
}

/// The value of a field.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}
