//! HAProxy as the whole data plane, at a listener of the agent's.

use super::*;

#[tokio::test]
async fn connections_wait_while_haproxy_is_started_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let platform = stub::serve("platform").await;
    let config = ProxyConfig {
        kept_as: None,
        unattended: UNATTENDED,
        duty: Duty::Serve(Arc::new([listener])),
        ..config(port, platform.port(), Service::Own(program()))
    };
    let proxy = Proxy::start(config, peer_id("n1"));
    proxy.apply(&policy(&[("figlet", figlet(f64::INFINITY))], &BTreeMap::new()));
    let pid = || match proxy.state() {
        State::Ready { pid, .. } => Some(pid),
        State::Starting | State::Waiting | State::Absent { .. } => None,
    };
    until("HAProxy", || pid().is_some()).await;
    let first = pid().unwrap();
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::KILL).unwrap();
    // Nobody but the agent's socket takes it now, or the next HAProxy does.
    let answer = Stream::connect(port).await.get("/function/figlet", "").await;
    assert_eq!(answer.status, 200);
    until("another HAProxy", || pid().is_some_and(|pid| pid != first)).await;
    proxy.stop().await;
}
