use super::*;

use futures_util::StreamExt;
use libp2p::gossipsub::IdentTopic;
use tokio::sync::mpsc::Receiver;
use tokio::time::{interval, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "dfaas-test";
const GOOD: &[u8] = br#"{"MsgType":"all is well"}"#;

#[tokio::test]
async fn three_nodes_meet_and_hear_each_other() {
    let mut nodes = three().await;
    for node in &mut nodes {
        node.until_met(2).await;
    }
    for index in 0..3 {
        let body = message(&format!("from {index}"));
        let from = nodes[index].id.clone();
        for listener in [(index + 1) % 3, (index + 2) % 3] {
            let speaker = nodes[index].handle.clone();
            nodes[listener].until_heard(&speaker, &from, &body).await;
        }
    }
    let counts = nodes[0].handle.counts();
    assert!(counts.published >= 1 && counts.received >= 2, "{counts:?}");
    assert_eq!((counts.rejected, counts.dropped), (0, 0));
    assert_eq!(nodes[0].handle.connected(), 2);
}

#[tokio::test]
async fn the_largest_body_passes_and_a_larger_one_is_counted() {
    let [mut first, second, _third] = three().await;
    first.until_met(1).await;
    second.handle.publish(vec![b'x'; MESSAGE_BYTES_MAX + 1]);
    assert_eq!(second.handle.counts().dropped, 1);
    let from = second.id.clone();
    let body = message(&"x".repeat(MESSAGE_BYTES_MAX - message("").len()));
    assert_eq!(body.len(), MESSAGE_BYTES_MAX);
    first.until_heard(&second.handle, &from, &body).await;
    assert_eq!(second.handle.counts().dropped, 1);
}

#[tokio::test]
async fn a_token_is_told_to_one_node_and_taken() {
    let [mut first, mut second, mut third] = three().await;
    first.until_met(2).await;
    second.until_met(2).await;
    let secret = Token::new([7; 16]);
    let first_id = first.id.clone();
    first.handle.tell_token(second.id.clone(), secret, true);
    let is_told = |event: &OverlayEvent| {
        matches!(event, OverlayEvent::TokenTold { from, token, has_ours: true }
            if *from == first_id && *token == secret)
    };
    second.until(is_told).await;
    let second_id = second.id.clone();
    let is_taken = |event: &OverlayEvent| matches!(event, OverlayEvent::TokenTaken { by, token } if *by == second_id && *token == secret);
    first.until(is_taken).await;
    while let Ok(event) = third.events.try_recv() {
        assert!(!is_told(&event), "the third node heard it");
    }
}

#[tokio::test]
async fn a_bad_message_is_counted_and_not_passed_on() {
    let [mut first, mut second, _third] = three().await;
    first.until_met(2).await;
    let stranger = Keypair::generate_ed25519();
    let from = crate::identity::node_id(&stranger);
    let large = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    let shouting = tokio::spawn(shout(stranger, first.address.clone(), [large, GOOD.to_vec()]));
    // What was bad before the second good message had its chance to come along.
    for _ in 0..2 {
        second
            .until(|event| matches!(event, OverlayEvent::Message { from: id, body } if *id == from && body == GOOD))
            .await;
    }
    shouting.abort();
    assert!(first.handle.counts().rejected >= 1);
    assert_eq!(second.handle.counts().rejected, 0);
    assert_eq!(
        second.handle.connected(),
        2,
        "the stranger knows only the first node"
    );
}

#[tokio::test]
async fn who_says_as_much_as_a_go_agent_may_is_still_heard_afterwards() {
    let [mut first, mut second, _third] = three().await;
    first.until_met(2).await;
    second.until_met(2).await;
    let long_winded = Keypair::generate_ed25519();
    let from = crate::identity::node_id(&long_winded);
    // A megabyte with its envelope.
    let large = vec![b'x'; (1 << 20) - 1024];
    let shouting = tokio::spawn(shout(long_winded, first.address.clone(), [large, GOOD.to_vec()]));
    for _ in 0..3 {
        first
            .until(|event| matches!(event, OverlayEvent::Message { from: id, body } if *id == from && body == GOOD))
            .await;
    }
    shouting.abort();
    assert!(first.handle.counts().rejected >= 1);
    assert_eq!(first.handle.counts().banned, 0);
}

#[tokio::test]
async fn who_floods_with_rubbish_is_cut_off_and_others_go_on() {
    let [mut first, mut second, mut third] = three().await;
    for node in [&mut first, &mut second, &mut third] {
        node.until_met(2).await;
    }
    let rubbish = [br#"{"MsgType":5}"#.to_vec(), b"{".to_vec()];
    let flood = tokio::spawn(shout(Keypair::generate_ed25519(), first.address.clone(), rubbish));
    let banned = async {
        while first.handle.counts().banned == 0 || first.handle.connected() > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, banned).await.expect("the flood is stopped");
    let rejected = first.handle.counts().rejected;
    assert!((10..=20).contains(&rejected), "{rejected}");
    // It dials again and again, and is not let in.
    second.until_heard(&first.handle, &first.id, GOOD).await;
    third.until_heard(&second.handle, &second.id, GOOD).await;
    first.until_heard(&third.handle, &third.id, GOOD).await;
    assert_eq!(first.handle.counts().rejected, rejected);
    assert_eq!(second.handle.counts().rejected, 0, "rubbish is not passed on");
    flood.abort();
}

#[tokio::test]
async fn a_private_federation_lets_in_who_has_its_key() {
    let with_key = |key: Option<[u8; 32]>, bootstrap| OverlayConfig {
        swarm_key: key.map(PreSharedKey::new),
        ..config(any(), bootstrap)
    };
    let first = Node::start_with(with_key(Some([1; 32]), vec![])).await;
    let known = vec![first.address.clone()];
    let wrong = Node::start_with(with_key(Some([2; 32]), known.clone())).await;
    let without = Node::start_with(with_key(None, known.clone())).await;
    let mut right = Node::start_with(with_key(Some([1; 32]), known)).await;
    right.until_met(1).await;
    let refused = async {
        while first.handle.counts().unproven < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("strangers are counted");
    assert_eq!(first.handle.connected(), 1);
    assert_eq!((wrong.handle.connected(), without.handle.connected()), (0, 0));
}

#[tokio::test]
async fn nodes_meet_over_what_works() {
    let quic = || "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
    let first = Node::start(quic(), vec![]).await;
    let mut over_quic = Node::start(any(), vec![first.address.clone()]).await;
    over_quic.until_met(1).await;
    // A wrong address of the one kind does not hinder the other.
    let nobody = "/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap();
    let mut either = Node::start(quic(), vec![nobody, over_quic.address.clone()]).await;
    either.until_met(1).await;
    assert_eq!(either.met, std::slice::from_ref(&over_quic.id));
    let taken = start(config(first.address.clone(), vec![])).await;
    assert!(taken.is_err(), "the port is taken");
}

#[tokio::test]
async fn a_stopped_node_is_missed() {
    let [mut first, mut second, third] = three().await;
    first.until_met(2).await;
    second.until_met(2).await;
    third.handle.stop();
    first.until_down(&third.id).await;
    assert_eq!(first.handle.connected(), 1);
    drop(second.handle);
    first.until_down(&second.id).await;
    assert_eq!(first.handle.connected(), 0);
}

#[tokio::test]
async fn who_knows_one_node_finds_the_others_in_the_dht() {
    let looking = |bootstrap| OverlayConfig {
        discovery: Some(discovery()),
        ..config(any(), bootstrap)
    };
    let first = Node::start_with(looking(vec![])).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Node::start_with(looking(vec![first.address.clone()])).await);
    }
    // Who does not look is found by nobody, and finds nobody: the DHT is what they have from each other.
    let alone = Node::start(any(), vec![first.address.clone()]).await;
    for node in &mut others {
        node.until_met(3).await;
    }
    assert_eq!(alone.handle.connected(), 1);
    assert!(first.handle.connected() == 4 && first.handle.counts().looks > 0);
}

#[tokio::test]
async fn federations_of_other_names_share_a_dht_and_nothing_else() {
    let named = |topic: &str, bootstrap| OverlayConfig {
        discovery: Some(Discovery {
            rendezvous: topic.to_owned(),
            ..discovery()
        }),
        topic: topic.to_owned(),
        tuning: Tuning {
            stranger_time: Duration::from_millis(500),
            ..Tuning::default()
        },
        ..config(any(), bootstrap)
    };
    let first = Node::start_with(named("a", vec![])).await;
    let mut second = Node::start_with(named("b", vec![first.address.clone()])).await;
    let mut third = Node::start_with(named("b", vec![first.address.clone()])).await;
    second.until_met(1).await;
    third.until_met(1).await;
    assert_eq!((&second.met[0], &third.met[0]), (&third.id, &second.id));
    let sent_away = async {
        while first.handle.counts().strangers == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, sent_away).await.expect("strangers do not stay");
    assert_eq!(first.handle.connected(), 0);
}

#[tokio::test]
async fn a_bootstrap_node_that_comes_back_is_met_again() {
    let first = Node::start(any(), vec![]).await;
    let mut second = Node::start(any(), vec![first.address.clone()]).await;
    second.until_met(1).await;
    let address = first.stop().await;
    let back = Node::start(address, vec![]).await;
    second
        .until(|event| matches!(event, OverlayEvent::PeerUp { id, .. } if *id == back.id))
        .await;
}

#[tokio::test]
async fn an_unreachable_bootstrap_node_does_not_hinder_the_start() {
    let unreachable = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let node = Node::start(any(), vec![unreachable]).await;
    assert_eq!(node.handle.connected(), 0);
    node.handle.publish(b"to nobody".to_vec());
}

#[tokio::test]
async fn nodes_find_themselves_in_the_bootstrap_list_and_go_on() {
    let address = Node::start(any(), vec![]).await.stop().await;
    let other = Node::start(any(), vec![]).await;
    let mut own = Node::start(address.clone(), vec![address, other.address.clone()]).await;
    own.until_met(1).await;
    assert_eq!(own.met, std::slice::from_ref(&other.id));
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let node = Node::start(any(), vec![]).await;
    let error = start(config(node.address.clone(), vec![]))
        .await
        .map(drop)
        .expect_err("is taken");
    let text = format!("{error:#}");
    assert!(
        text.contains(&format!("listen on {}", node.address)) && text.contains("in use"),
        "{text}"
    );
}

#[tokio::test]
async fn who_is_not_admitted_is_kept_out_until_it_is() {
    let first = Node::start(any(), vec![]).await;
    let mut member = Node::start(any(), vec![first.address.clone()]).await;
    member.handle.admit([first.id.clone()].into());
    member.until_met(1).await;
    // The stranger is connected with the first node, which admits everybody and passes on what it says.
    let mut stranger = Node::start(any(), vec![first.address.clone(), member.address.clone()]).await;
    stranger.until_met(1).await;
    let mut first = first;
    first.until_heard(&stranger.handle, &stranger.id, GOOD).await;
    let kept_out = async {
        while member.handle.counts().unadmitted < 3 {
            stranger.handle.publish(GOOD.to_vec());
            stranger
                .handle
                .tell_token(member.id.clone(), Token::new([7; 16]), true);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, kept_out)
        .await
        .expect("it is sent away, and what it says is dropped");
    assert_eq!(member.handle.connected(), 1);
    while let Ok(event) = member.events.try_recv() {
        assert!(
            !matches!(&event, OverlayEvent::Message { from, .. } | OverlayEvent::TokenTold { from, .. } if *from == stranger.id),
            "{event:?}"
        );
    }
    member
        .handle
        .admit([first.id.clone(), stranger.id.clone()].into());
    member.until_heard(&stranger.handle, &stranger.id, GOOD).await;
    let back = |event: &OverlayEvent| matches!(event, OverlayEvent::PeerUp { id, .. } if *id == stranger.id);
    if member.handle.connected() < 2 {
        member.until(back).await;
    }
}

/// Publishes bodies again and again, to whoever listens on `address`.
async fn shout(keypair: Keypair, address: Multiaddr, bodies: [Vec<u8>; 2]) {
    let topic = IdentTopic::new(TOPIC);
    let mut swarm = swarm::build(&OverlayConfig {
        keypair,
        ..config(any(), vec![])
    })
    .unwrap();
    swarm.dial(address).unwrap();
    let mut repeat = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = repeat.tick() => for body in bodies.clone() {
                // Nobody has subscribed at first.
                swarm.behaviour_mut().gossip.publish(topic.hash(), body).ok();
            },
            _ = swarm.select_next_some() => {}
        }
    }
}

struct Node {
    id: NodeId,
    address: Multiaddr,
    handle: OverlayHandle,
    events: Receiver<OverlayEvent>,
    met: Vec<NodeId>,
}

impl Node {
    async fn start(listen: Multiaddr, bootstrap: Vec<Multiaddr>) -> Self {
        Self::start_with(config(listen, bootstrap)).await
    }

    async fn start_with(config: OverlayConfig) -> Self {
        let id = crate::identity::node_id(&config.keypair);
        let (handle, mut events) = start(config).await.unwrap();
        let Some(OverlayEvent::Listening(address)) = events.recv().await else {
            panic!("the first event is about listening");
        };
        Self {
            id,
            address,
            handle,
            events,
            met: vec![],
        }
    }

    /// Ends the node and says where it listened.
    async fn stop(mut self) -> Multiaddr {
        self.handle.stop();
        while self.events.recv().await.is_some() {}
        self.address
    }

    async fn until(&mut self, mut is_wanted: impl FnMut(&OverlayEvent) -> bool) {
        let wait = async { while !is_wanted(&self.events.recv().await.expect("the overlay runs")) {} };
        timeout(PATIENCE, wait).await.expect("the event comes in time");
    }

    /// Waits until `count` nodes are up and their round-trip times known.
    async fn until_met(&mut self, count: usize) {
        let mut met = std::mem::take(&mut self.met);
        self.until(|event| {
            if let OverlayEvent::PeerUp { id, rtt: Some(_) } = event
                && !met.contains(id)
            {
                met.push(id.clone());
            }
            met.len() >= count
        })
        .await;
        self.met = met;
    }

    async fn until_down(&mut self, who: &NodeId) {
        self.until(|event| matches!(event, OverlayEvent::PeerDown { id } if id == who))
            .await;
    }

    /// Lets `speaker` say `body` again and again, as the mind does, until it is heard.
    async fn until_heard(&mut self, speaker: &OverlayHandle, speaker_id: &NodeId, body: &[u8]) {
        let mut repeat = interval(Duration::from_millis(100));
        let wait = async {
            loop {
                tokio::select! {
                    _ = repeat.tick() => speaker.publish(body.to_vec()),
                    event = self.events.recv() => match event.expect("the overlay runs") {
                        OverlayEvent::Message { from, body: heard } if from == *speaker_id && heard == body => break,
                        OverlayEvent::Listening(_)
                        | OverlayEvent::Unlistening(_)
                        | OverlayEvent::PeerUp { .. }
                        | OverlayEvent::PeerDown { .. }
                        | OverlayEvent::Message { .. }
                        | OverlayEvent::TokenTold { .. }
                        | OverlayEvent::TokenTaken { .. } => {}
                    }
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("the message comes in time");
    }
}

/// Three nodes, of which each knows those before it.
async fn three() -> [Node; 3] {
    let first = Node::start(any(), vec![]).await;
    let second = Node::start(any(), vec![first.address.clone()]).await;
    let third = Node::start(any(), vec![first.address.clone(), second.address.clone()]).await;
    [first, second, third]
}

fn config(listen: Multiaddr, bootstrap: Vec<Multiaddr>) -> OverlayConfig {
    OverlayConfig {
        listen: vec![listen],
        keypair: Keypair::generate_ed25519(),
        bootstrap,
        mdns: false,
        discovery: None,
        topic: TOPIC.to_owned(),
        behind_nat: BehindNat::No,
        relay: None,
        swarm_key: None,
        tuning: Tuning::default(),
    }
}

/// A message that everybody can read, of a type that nobody knows.
fn message(kind: &str) -> Vec<u8> {
    format!(r#"{{"MsgType":"{kind}"}}"#).into_bytes()
}

fn discovery() -> Discovery {
    Discovery {
        rendezvous: "dfaas-test".to_owned(),
        protocol: "/ipfs/kad/1.0.0".to_owned(),
        idle: Duration::from_secs(60),
        advertise_every: Duration::from_secs(600),
        refresh: Duration::from_secs(300),
        replication: NonZeroUsize::new(20).unwrap(),
    }
}

fn any() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}
