//! Asks peers where they say that they take requests, so that nothing is sent to where they are not.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dfaas_common::decide::Answer;
use dfaas_control::{Input, NodeId, ServiceAddress, Token};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    header::{CONNECTION, HeaderValue},
};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use crate::http_client::HttpClient;

/// A data plane answers at once; a host that is away, never.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many peers are asked at a time.
const AT_A_TIME: usize = 32;

/// Asks peers as a node would that sends them a request.
#[derive(Clone, Debug)]
pub(crate) struct Prober {
    node: NodeId,
    /// Whether users come over IPv6 too, so that requests may go to peers over it.
    has_ipv6: bool,
    client: HttpClient,
    places: Arc<Semaphore>,
    answers: mpsc::Sender<Input>,
}

impl Prober {
    pub(crate) fn new(node: NodeId, own: ServiceAddress, answers: mpsc::Sender<Input>) -> Self {
        Self {
            node,
            has_ipv6: own.ipv6().is_some(),
            client: HttpClient::new(),
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            answers,
        }
    }

    /// Asks in the background, and feeds one answer to the loop.
    pub(crate) fn probe(&self, peer: NodeId, service: ServiceAddress, token: Token) {
        let prober = self.clone();
        tokio::spawn(async move {
            let is_there = prober.is_there(&peer, service, token).await;
            let answer = Input::Probed {
                peer,
                service,
                is_there,
            };
            // The loop may have ended.
            let _ = prober.answers.send(answer).await;
        });
    }

    /// Whether the peer answers wherever requests may be sent to.
    async fn is_there(&self, peer: &NodeId, service: ServiceAddress, token: Token) -> bool {
        let _place = self.places.acquire().await;
        let addresses = service.addresses();
        for address in addresses.filter(|address| address.is_ipv4() || self.has_ipv6) {
            if let Err(reason) = self.ask(address, token).await {
                warn!(%peer, %address, reason, "A peer does not answer where it says that it takes requests; asking again later");
                return false;
            }
            debug!(%peer, %address, "A peer is where it says");
        }
        true
    }

    /// Asks for `/`, which costs nobody anything. Only who drew the token takes it for ours.
    async fn ask(&self, address: SocketAddr, token: Token) -> Result<(), String> {
        let mut secret = HeaderValue::from_str(&token.text()).expect("a token is hexadecimal");
        secret.set_sensitive(true);
        let url = format!("http://{address}/");
        let request = Request::get(&url)
            .header("DFaaS-Node-ID", self.node.as_str())
            .header("DFaaS-Node-Token", secret)
            .header(CONNECTION, "close")
            .body(Bytes::new())
            .expect("an identity is visible ASCII");
        let (status, body) = self
            .client
            .ask(&url, request, PATIENCE)
            .await
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&body);
        if status == StatusCode::OK && is_of_a_node(&text) {
            Ok(())
        } else {
            let start: String = text.chars().take(80).collect();
            Err(format!("it answers {status}: {}", start.trim_end()))
        }
    }
}

/// Whether a text is what a data plane answers to `/`: its first word at least, which no version changes.
fn is_of_a_node(text: &str) -> bool {
    let own = Answer::Root.response();
    let word = own
        .split_once("\r\n\r\n")
        .and_then(|(_, body)| body.split(' ').next());
    word.is_some_and(|word| text.starts_with(word))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const SECRET: [u8; 16] = [7; 16];

    #[tokio::test]
    async fn only_a_node_that_takes_the_token_is_there() {
        let node = |head: &str| {
            let knows = head
                .to_lowercase()
                .contains(&format!("dfaas-node-token: {}", Token::new(SECRET).text()));
            if knows { Answer::Root } else { Answer::Forged }
                .response()
                .to_owned()
        };
        assert!(asked(node, SECRET).await);
        assert!(!asked(node, [8; 16]).await);
        let other = |_: &str| "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned();
        assert!(!asked(other, SECRET).await);
        let closes = |_: &str| String::new();
        assert!(!asked(closes, SECRET).await);
    }

    /// Whether a node is found where somebody answers so.
    async fn asked(answer: impl Fn(&str) -> String + Send + 'static, token: [u8; 16]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("it is an address of IPv4");
        };
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let text = String::from_utf8_lossy(&head[..length]).into_owned();
            stream.write_all(answer(&text).as_bytes()).await.unwrap();
        });
        let service = ServiceAddress::new(*address.ip(), address.port());
        let peer = NodeId::new("n2").unwrap();
        let (answers, mut fed) = mpsc::channel(1);
        let prober = Prober::new(NodeId::new("n1").unwrap(), service, answers);
        prober.probe(peer.clone(), service, Token::new(token));
        let Some(Input::Probed {
            peer: of, is_there, ..
        }) = fed.recv().await
        else {
            panic!("there is one answer");
        };
        assert_eq!(of, peer);
        is_there
    }
}
