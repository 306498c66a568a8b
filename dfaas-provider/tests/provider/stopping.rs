//! A provider that stops: who has begun to ask is answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Server, patiently};

const REQUEST: &[u8] = b"POST /function/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
const CONNECTIONS: usize = 50;
const GRACE: Duration = Duration::from_secs(30);

async fn server() -> Server {
    let server = Server::start_with(|config| config.grace = GRACE).await;
    let echo = serde_json::json!({"service": "echo", "image": "builtin:echo"});
    server.deploy(echo).await;
    server
}

#[tokio::test]
async fn who_waits_to_be_accepted_is_answered() {
    let server = server().await;
    // This thread runs the provider too, so none of them is accepted before it stops.
    let mut waiting: Vec<TcpStream> = (0..CONNECTIONS).map(|_| ask(&server)).collect();
    let _directory = patiently(server.stop()).await;
    for (number, stream) in waiting.iter_mut().enumerate() {
        let answer = read(stream);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{number}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{number}: {answer}");
    }
}

#[tokio::test]
async fn the_next_request_of_a_kept_connection_is_its_last() {
    let server = server().await;
    let mut stream = ask(&server);
    let mut kept = stream.try_clone().unwrap();
    let asking = tokio::task::spawn_blocking(move || {
        let mut bytes = [0; 4096];
        let first = kept.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..first]).into_owned()
    });
    let first = asking.await.unwrap();
    assert!(
        first.starts_with("HTTP/1.1 200 OK\r\n") && !first.contains("connection: close"),
        "{first}"
    );
    let asking = tokio::task::spawn_blocking(move || {
        // On its way while the provider stops.
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(REQUEST).unwrap();
        read(&mut stream)
    });
    let _directory = patiently(server.stop()).await;
    let last = asking.await.unwrap();
    assert!(
        last.starts_with("HTTP/1.1 200 OK\r\n") && last.contains("connection: close\r\n"),
        "{last}"
    );
}

fn ask(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.functions()).unwrap();
    stream.write_all(REQUEST).unwrap();
    stream
}

fn read(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
