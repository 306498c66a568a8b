use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_server_whose_authority_is_trusted_is_asked_by_https() {
    let (url, authority) = serve().await;
    let mut trusted = RootCertStore::empty();
    trusted.add(authority).unwrap();
    let client = HttpClient::trusting(trusted);
    let answer = client.exchange_json(Method::POST, &url, Bytes::from_static(b"{}"), PATIENCE);
    let (status, body) = answer.await.unwrap();
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"secret"[..]));
}

#[tokio::test]
async fn a_server_of_strangers_is_not_asked() {
    let (url, _) = serve().await;
    for client in [HttpClient::new(), HttpClient::for_urls([url.as_str()])] {
        let error = client.get(&url, None).await.unwrap_err().to_string();
        assert!(error.contains(&url) && error.contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_keeps_silent_behind_its_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let client = HttpClient::new();
    let patience = Duration::from_millis(200);
    let answer = client.exchange_json(Method::POST, &url, Bytes::new(), patience);
    let error = answer.await.unwrap_err();
    assert!(matches!(error, GetError::Timeout { .. }), "{error}");
}

/// A server for one connection, and the certificate that it signed itself.
async fn serve() -> (String, tokio_rustls::rustls::pki_types::CertificateDer<'static>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let authority = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(certified.key_pair.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![authority.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not trust it goes in the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"{}") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
                .await
                .unwrap();
        }
    });
    (format!("https://localhost:{port}/decide"), authority)
}
