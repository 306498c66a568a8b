//! A HAProxy that somebody else runs.

use super::*;

#[tokio::test]
async fn one_that_the_operator_runs_is_adopted() {
    let base = tempfile::tempdir().unwrap();
    let operator = Operator::new(base.path()).await;
    let proxy = operator.adopt();
    let foreign = operator.folder.map().with_file_name("other.map");
    std::fs::write(&foreign, "").unwrap();
    let mut child = operator.run(&foreign);
    let complains = || matches!(proxy.state(), State::Absent { reason } if reason.contains("haproxy-config"));
    until("a complaint", complains).await;
    child.kill().await.unwrap();
    let mut child = operator.run(&operator.folder.map());
    until("adoption", || proxy.port().is_some()).await;
    assert_eq!(operator.ask().await, 200);
    proxy.stop().await;
    assert!(child.try_wait().unwrap().is_none(), "it is not ours to end");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn what_an_adopted_one_counted_before_is_not_told() {
    let base = tempfile::tempdir().unwrap();
    let operator = Operator::new(base.path()).await;
    let mut child = operator.run(&operator.folder.map());
    for _ in 0..2 {
        let proxy = operator.adopt();
        until("adoption", || proxy.port().is_some()).await;
        assert_eq!(operator.ask().await, 200);
        until("a count", || !proxy.snapshot.borrow().counts.is_empty()).await;
        assert_eq!(proxy.snapshot.borrow().counts["l/figlet"], 1);
        proxy.stop().await;
    }
    child.kill().await.unwrap();
}

/// Somebody who runs a HAProxy for `figlet`.
struct Operator {
    folder: Folder,
    port: u16,
    functions_port: u16,
}

impl Operator {
    async fn new(base: &Path) -> Self {
        Self {
            folder: Folder::within(base).unwrap(),
            port: free_port(),
            functions_port: stub::serve("platform").await.port(),
        }
    }

    fn run(&self, map: &Path) -> Child {
        let settings = Settings {
            entrances: vec![Entrance::Address((Ipv4Addr::LOCALHOST, self.port).into())],
            functions_port: self.functions_port,
            control: self.folder.control(),
            map: map.to_owned(),
        };
        self.folder.fill(&settings, &BTreeMap::new()).unwrap();
        program().start(&self.folder, &[]).unwrap()
    }

    fn adopt(&self) -> Proxy {
        let service = Service::Adopted(self.folder.control());
        let proxy = Proxy::start(config(self.port, self.functions_port, service), peer_id("n1"));
        proxy.apply(&policy(&[("figlet", figlet(f64::INFINITY))], &BTreeMap::new()));
        proxy
    }

    async fn ask(&self) -> u16 {
        let mut client = Stream::connect(self.port).await;
        client.get("/function/figlet", "").await.status
    }
}
