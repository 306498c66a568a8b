use http_body_util::BodyExt;
use hyper::{StatusCode, header::CONTENT_TYPE};
use serde_json::Value;

use super::*;
use crate::{data_plane::Listener, report::fixtures};

#[tokio::test]
async fn health_is_a_line_a_check() {
    let (status, text) = read(answer::health(&fixtures::health(&Listener::Present))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        text,
        "ok   data plane: attached to eth0\nok   listener: port 8090\nok   haproxy: waits for a policy\nok   peers: none yet\n"
    );
    let (status, text) = read(answer::health(&fixtures::health(&Listener::Absent))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("FAIL listener: nobody listens\n"), "{text}");
}

#[tokio::test]
async fn status_is_json() {
    let (status, text) = read(answer::status(Ok(&fixtures::report()))).await;
    assert_eq!(status, StatusCode::OK);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (json["node"].as_str(), json["port"].as_u64()),
        (Some("n1"), Some(80))
    );
    assert_eq!(json["totals"]["functions"]["figlet"]["forwarded"]["n2"], 5);
    assert_eq!(
        json["control"]["functions"]["figlet"]["routes"]["n2"]["cap_rps"],
        Value::Null
    );
    assert_eq!(json["overlay"]["counts"]["published"], 0);
    let (status, text) = read(answer::status(Err(&"reading STATS".to_owned()))).await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "reading STATS\n")
    );
}

#[tokio::test]
async fn metrics_have_their_content_type() {
    let answer = answer::metrics(Ok(&fixtures::report()));
    assert_eq!(
        answer.headers()[CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(read(answer).await.1.starts_with("# HELP dfaas_build_info "));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    check(&Method::GET, "/", StatusCode::NOT_FOUND).await;
    check(&Method::GET, "/status/", StatusCode::NOT_FOUND).await;
    check(&Method::POST, "/status", StatusCode::METHOD_NOT_ALLOWED).await;
    check(&Method::HEAD, "/livez", StatusCode::OK).await;
}

#[tokio::test]
async fn pages_are_what_the_loop_says() {
    check(&Method::GET, "/livez", StatusCode::OK).await;
    check(&Method::GET, "/healthz", StatusCode::SERVICE_UNAVAILABLE).await;
    check(&Method::GET, "/metrics", StatusCode::OK).await;
    check(&Method::GET, "/status", StatusCode::OK).await;
    check(&Method::GET, "/strategy", StatusCode::OK).await;
    check(&Method::GET, "/explain/nosuch", StatusCode::NOT_FOUND).await;
    check(&Method::GET, "/explain/a%20b", StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn the_strategy_is_changed_by_name_and_only_by_the_owner() {
    check_change(
        true,
        "/strategy",
        "recalc\n",
        StatusCode::ACCEPTED,
        "recalc takes over",
    )
    .await;
    check_change(
        true,
        "/strategy",
        "luck",
        StatusCode::BAD_REQUEST,
        "no strategy is called \"luck\"",
    )
    .await;
    check_change(
        true,
        "/strategy",
        &"x".repeat(65),
        StatusCode::BAD_REQUEST,
        "not the name",
    )
    .await;
    check_change(
        false,
        "/strategy",
        "recalc",
        StatusCode::FORBIDDEN,
        "only root and the agent's user",
    )
    .await;
    check_change(
        true,
        "/status",
        "recalc",
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET",
    )
    .await;
    check_change(true, "/nowhere", "recalc", StatusCode::NOT_FOUND, "there are").await;
}

async fn check_change(may_change: bool, path: &str, body: &str, want: StatusCode, words: &str) {
    let (questions, mut receiver) = mpsc::channel(1);
    let answering = async {
        if let Some(Question::Switch(_, answer)) = receiver.recv().await {
            answer.send(Ok(())).unwrap();
        }
    };
    let request = Request::put(path)
        .body(Full::<Bytes>::from(body.to_owned()))
        .unwrap();
    let asking = async {
        let questions = questions;
        change(may_change, request, &questions).await
    };
    let (answer, ()) = tokio::join!(asking, answering);
    let (status, text) = read(answer).await;
    assert_eq!(status, want, "{text}");
    assert!(text.contains(words), "{text}");
}

#[tokio::test]
async fn a_loop_that_has_ended_is_told() {
    let (questions, receiver) = mpsc::channel(1);
    drop(receiver);
    let (status, text) = read(respond(&Method::GET, "/livez", &questions).await).await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_not_alive() {
    let (questions, _receiver) = mpsc::channel(1);
    let (status, text) = read(respond(&Method::GET, "/livez", &questions).await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("has not answered for 2s"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_is_told_with_a_remedy() {
    let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = bind(first.questions.local_addr().unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("--api") && error.contains("in use"), "{error}");
}

async fn check(method: &Method, path: &str, want: StatusCode) {
    let (questions, mut receiver) = mpsc::channel(1);
    let answering = async {
        match receiver.recv().await {
            Some(Question::Health(answer)) => drop(answer.send(fixtures::health(&Listener::Absent))),
            Some(Question::Report(answer)) => drop(answer.send(Ok(Box::new(fixtures::report())))),
            Some(Question::Explain(_, answer)) => drop(answer.send(None)),
            Some(Question::Strategy(answer)) => drop(answer.send(StrategyKind::Recalc)),
            Some(Question::Switch(_, answer)) => drop(answer.send(Ok(()))),
            None => {}
        }
    };
    let asking = async {
        let questions = questions;
        respond(method, path, &questions).await
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.status(), want, "{method} {path}");
}

async fn read(answer: Response<Full<Bytes>>) -> (StatusCode, String) {
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn changes_are_taken_by_the_socket_that_says_who_asks() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut questions = start(bind(address).unwrap()).unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            if let Question::Switch(StrategyKind::Recalc, answer) = question {
                answer.send(Ok(())).unwrap();
            }
        }
    });
    let asked = changes::ask(address, "/strategy", "recalc".to_owned(), ANSWER_TIMEOUT);
    let (status, body) = asked.await.unwrap();
    let text = String::from_utf8_lossy(&body);
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    assert!(text.contains("--strategy is what lasts"), "{text}");
    // The same by the API, from loopback.
    let client = crate::http_client::HttpClient::new();
    let url = format!("http://{address}/strategy");
    let asked = client.exchange_json(Method::PUT, &url, Bytes::from_static(b"recalc"), ANSWER_TIMEOUT);
    assert_eq!(asked.await.unwrap().0, StatusCode::FORBIDDEN);
    // A second agent with the same API gets nothing.
    assert!(bind(address).is_err());
    let nobody = changes::ask(
        "127.0.0.1:1".parse().unwrap(),
        "/strategy",
        String::new(),
        ANSWER_TIMEOUT,
    );
    let error = format!("{:#}", nobody.await.unwrap_err());
    assert!(error.contains("no agent takes changes"), "{error}");
}
