use std::{convert::Infallible, sync::Arc};

use dfaas_control::{NodeId, StrategyKind, Tokenless};
use http_body_util::Full;
use hyper::{
    Request, Response, body::Bytes, header::AUTHORIZATION, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

const LIST: &str = r#"[
    {"name": "figlet.openfaas-fn", "namespace": "openfaas-fn", "availableReplicas": 1, "replicas": 1,
     "image": "i", "labels": {"dfaas.maxrate": "10"}, "annotations": null},
    {"name": "resting", "availableReplicas": 0, "labels": {"dfaas.maxrate": "5"}},
    {"name": "plain", "availableReplicas": 2},
    {"name": "odd", "availableReplicas": 1, "labels": {"dfaas.maxrate": "many"}}
]"#;

#[tokio::test]
async fn ready_functions_are_listed_with_their_capacity() {
    let mut platform = platform(serve(StatusCode::OK, LIST).await, None);
    assert_eq!(
        list(&mut platform).await.unwrap(),
        [("figlet", 10.0), ("odd", 7.0), ("plain", 7.0)].map(owned)
    );
    let complaints: Vec<String> = platform
        .complaints
        .iter()
        .map(|(name, complaint)| format!("{name}: {complaint}"))
        .collect();
    assert_eq!(
        complaints,
        [
            "odd: Taking the default capacity: label dfaas.maxrate is \"many\", not a number",
            "plain: Taking the default capacity: label dfaas.maxrate is missing",
        ]
    );
}

#[tokio::test]
async fn functions_of_all_namespaces_are_listed() {
    let port = serve(StatusCode::OK, LIST).await;
    let mut gateway = platform(port, None);
    gateway.url = format!("http://127.0.0.1:{port}/of-two/system");
    let names: Vec<String> = list(&mut gateway)
        .await
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["figlet", "mine.dev", "odd", "plain"]);
}

#[tokio::test]
async fn credentials_are_sent() {
    let port = serve(StatusCode::OK, "[]").await;
    let credentials = Credentials {
        user: "admin".to_owned(),
        password: "secret".to_owned(),
    };
    assert!(
        list(&mut platform(port, Some(credentials)))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_refusal_says_which_flags_to_set() {
    let error = list(&mut platform(serve(StatusCode::UNAUTHORIZED, "").await, None))
        .await
        .unwrap_err();
    assert!(
        error.contains("401") && error.contains("--openfaas-pass-file"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_gateway_is_told() {
    let error = list(&mut platform(serve(StatusCode::OK, "<html>").await, None))
        .await
        .unwrap_err();
    assert!(error.contains("not JSON"), "{error}");
    let error = list(&mut platform(serve(StatusCode::NOT_FOUND, "[]").await, None))
        .await
        .unwrap_err();
    assert!(
        error.contains("404") && error.contains("--openfaas-port"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unreachable_platform_is_told_and_may_come_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut platform = platform(address.port(), None);
    let error = list(&mut platform).await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
    assert_eq!(platform.last, Some(Err(error)));
    tokio::spawn(accept(
        TcpListener::bind(address).await.unwrap(),
        StatusCode::OK,
        "[]",
    ));
    assert!(list(&mut platform).await.is_ok());
    assert_eq!(platform.last, Some(Ok(())));
}

#[tokio::test]
async fn the_background_task_tells_each_list() {
    let mut events = platform(serve(StatusCode::OK, LIST).await, None).start();
    for _ in 0..2 {
        assert!(
            matches!(events.recv().await, Some(PlatformEvent::Listed(functions)) if functions.len() == 3)
        );
    }
}

/// Serves one answer on a port of this host, and checks credentials where there are any.
async fn serve(status: StatusCode, body: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(accept(listener, status, body));
    port
}

async fn accept(listener: TcpListener, status: StatusCode, body: &'static str) {
    let listener = Arc::new(listener);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<_>| async move {
            let (status, body) = match request.uri().to_string().as_str() {
                "/system/functions" | "/of-two/system/functions" => (status, body),
                "/of-two/system/namespaces" => (status, r#"["openfaas-fn","dev","no/label"]"#),
                "/of-two/system/functions?namespace=dev" => {
                    (status, r#"[{"name": "mine", "availableReplicas": 1}]"#)
                }
                "/system/namespaces" => (StatusCode::NOT_FOUND, ""),
                other => panic!("{other} is not asked for"),
            };
            let credentials = request.headers().get(AUTHORIZATION);
            let is_right = credentials.is_none_or(|header| header == "Basic YWRtaW46c2VjcmV0");
            let status = if is_right { status } else { StatusCode::FORBIDDEN };
            Ok::<_, Infallible>(
                Response::builder()
                    .status(status)
                    .body(Full::new(Bytes::from_static(body.as_bytes())))
                    .unwrap(),
            )
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn platform(port: u16, credentials: Option<Credentials>) -> Platform {
    let settings = Settings {
        node: NodeId::new("n1").unwrap(),
        incarnation: 1,
        service: "10.0.0.1:80".parse().unwrap(),
        period: Duration::from_secs(1),
        strategy: StrategyKind::WaterFilling,
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::All,
        neighbourhood: dfaas_control::Neighbourhood::default(),
        shadow: None,
        default_capacity_rps: 7.0,
        node_margin: dfaas_control::MarginSettings::default(),
    };
    let config = PlatformConfig {
        scheme: "http",
        host: "127.0.0.1".to_owned(),
        port,
        credentials,
        period: Duration::ZERO,
    };
    Platform::new(&config, settings)
}

async fn list(platform: &mut Platform) -> Result<Vec<(String, f64)>, String> {
    match platform.poll().await {
        PlatformEvent::Listed(functions) => Ok(functions
            .iter()
            .map(|(name, spec)| owned((name.as_str(), spec.capacity_rps)))
            .collect()),
        PlatformEvent::Unreachable(error) => Err(error.to_string()),
    }
}

fn owned((name, capacity_rps): (&str, f64)) -> (String, f64) {
    (name.to_owned(), capacity_rps)
}
