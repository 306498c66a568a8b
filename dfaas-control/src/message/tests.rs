use proptest::prelude::*;

use super::*;

/// A state as the design page shows it.
const STATE: &str = r#"{"MsgType":"nodestate","Incarnation":7,"Sequence":3,"HAProxyHost":"10.77.0.1",
    "HAProxyPort":80,"Period":1.0,
    "Functions":{"figlet":{"Capacity":10,"Demand":50.0,"ServiceTimeP95":0.002}},"Bands":{"n2":1}}"#;

#[test]
fn a_state_is_read_as_documented() {
    let Ok(Message::State(state)) = Message::decode(STATE.as_bytes()) else {
        panic!("not a state");
    };
    assert_eq!(state.version, (7, 3));
    assert_eq!(state.service, "10.77.0.1:80".parse().unwrap());
    assert_eq!(state.period, Duration::from_secs(1));
    let figlet = state.functions[&FunctionName::new("figlet").unwrap()];
    assert_eq!(
        figlet,
        FunctionState {
            capacity_rps: 10.0,
            demand_rps: 50.0,
            service_time_p95_s: Some(0.002)
        }
    );
    assert_eq!(state.bands[&NodeId::new("n2").unwrap()], RttBand::from(1));
}

#[test]
fn an_offer_is_read_as_the_go_agents_write_it() {
    for kind in ["nodeinfo", "nodeinfoRecalc"] {
        let body = format!(
            r#"{{"MsgType":"{kind}","HAProxyHost":"172.16.238.10","HAProxyPort":80,
                "FuncLimits":{{"12D3B":{{"figlet":10,"ocr":0.5}}}}}}"#
        );
        let Ok(Message::Offer(offer)) = Message::decode(body.as_bytes()) else {
            panic!("not an offer");
        };
        assert_eq!(offer.service, "172.16.238.10:80".parse().unwrap());
        assert_eq!(
            offer.limits[&NodeId::new("12D3B").unwrap()]
                .values()
                .collect::<Vec<_>>(),
            [&10.0, &0.5]
        );
    }
}

#[test]
fn an_offer_is_written_with_whole_numbers() {
    let limits = [
        (FunctionName::new("figlet").unwrap(), 10),
        (FunctionName::new("ocr").unwrap(), 0),
    ];
    let limits = [(NodeId::new("12D3B").unwrap(), limits.into_iter().collect())];
    let service = "172.16.238.10:80".parse().unwrap();
    let body = encode_offer(service, limits.into_iter().collect(), &Scope::default());
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"MsgType":"nodeinfoRecalc","HAProxyHost":"172.16.238.10","HAProxyPort":80,"FuncLimits":{"12D3B":{"figlet":10,"ocr":0}}}"#
    );
}

#[test]
fn neighbours_are_told_unless_everyone_is_one() {
    let everyone = Message::decode(STATE.as_bytes());
    assert!(matches!(everyone, Ok(Message::State(state)) if state.scope.is_everyone()));
    let with =
        |neighbours: &str| STATE.replace("\"Bands\"", &format!("\"Neighbours\":{neighbours},\"Bands\""));
    let Ok(Message::State(state)) = Message::decode(with(r#"["n2","n3"]"#).as_bytes()) else {
        panic!("not a state");
    };
    assert_eq!(state.scope.to_string(), "n2, n3");
    assert!(
        String::from_utf8(state.encode())
            .unwrap()
            .contains(r#""Neighbours":["n2","n3"]"#)
    );
    assert_eq!(Message::decode(with("[7]").as_bytes()), Err(Rejection::Malformed));
    let many: Vec<String> = (0..=PEERS_MAX).map(|i| format!("\"n{i}\"")).collect();
    let many = with(&format!("[{}]", many.join(",")));
    assert_eq!(Message::decode(many.as_bytes()), Err(Rejection::TooMany));
}

#[test]
fn absurd_values_are_rejected() {
    rejected("\"Capacity\":10", "\"Capacity\":-1", Rejection::AbsurdValue);
    rejected("\"Capacity\":10", "\"Capacity\":1.1e9", Rejection::AbsurdValue);
    rejected("\"Demand\":50.0", "\"Demand\":-0.001", Rejection::AbsurdValue);
    rejected("0.002", "-1", Rejection::AbsurdValue);
    rejected("0.002", "1e6", Rejection::AbsurdValue);
    rejected("\"Period\":1.0", "\"Period\":0", Rejection::AbsurdValue);
    rejected("\"Period\":1.0", "\"Period\":3601", Rejection::AbsurdValue);
    rejected("10.77.0.1", "0.0.0.0", Rejection::BadAddress);
    rejected("10.77.0.1", "224.0.0.1", Rejection::BadAddress);
    rejected("10.77.0.1", "node.example", Rejection::BadAddress);
    rejected("\"HAProxyPort\":80", "\"HAProxyPort\":0", Rejection::BadAddress);
}

#[test]
fn only_objects_may_be_of_an_unknown_type() {
    for body in ["{}", " {\"header\":{\"msg_type\":\"heartbeat\"}}"] {
        assert_eq!(
            Message::decode(body.as_bytes()),
            Err(Rejection::UnknownType),
            "{body}"
        );
    }
    for body in ["", "[]", "null", "7", "\"nodestate\"", "{", "{}x"] {
        assert_eq!(
            Message::decode(body.as_bytes()),
            Err(Rejection::Malformed),
            "{body}"
        );
    }
}

#[test]
fn malformed_messages_are_rejected() {
    rejected("nodestate", "nodestat", Rejection::UnknownType);
    // Kinds of tomorrow may have their name elsewhere.
    rejected("\"MsgType\"", "\"Type\"", Rejection::UnknownType);
    rejected("\"MsgType\":\"nodestate\"", "\"MsgType\":7", Rejection::Malformed);
    rejected("\"Demand\":50.0", "\"Demand\":NaN", Rejection::Malformed);
    rejected("\"Demand\":50.0", "\"Demand\":1e999", Rejection::Malformed);
    rejected("\"Sequence\":3", "\"Sequence\":-3", Rejection::Malformed);
    rejected("\"Sequence\":3,", "", Rejection::Malformed);
    rejected(
        "\"HAProxyPort\":80",
        "\"HAProxyPort\":65536",
        Rejection::Malformed,
    );
    rejected("\"n2\":1", "\"n2\":-1", Rejection::Malformed);
    assert_eq!(Message::decode(b""), Err(Rejection::Malformed));
    assert_eq!(
        Message::decode("[".repeat(10_000).as_bytes()),
        Err(Rejection::Malformed)
    );
}

#[test]
fn messages_are_bounded() {
    let padded = |length: usize| format!("{STATE}{}", " ".repeat(length - STATE.len()));
    assert!(Message::decode(padded(MESSAGE_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(
        Message::decode(padded(MESSAGE_BYTES_MAX + 1).as_bytes()),
        Err(Rejection::TooLarge)
    );
    let with_functions = |count: usize| NodeState {
        functions: (0..count)
            .map(|i| {
                (
                    FunctionName::new(format!("{i:063}")).unwrap(),
                    FunctionState::default(),
                )
            })
            .collect(),
        ..largest()
    };
    assert!(Message::decode(&with_functions(FUNCTIONS_MAX).encode()).is_ok());
    assert_eq!(
        Message::decode(&with_functions(FUNCTIONS_MAX + 1).encode()),
        Err(Rejection::TooMany)
    );
}

#[test]
fn the_largest_state_fits_a_message() {
    let state = largest();
    assert!(
        state.encode().len() <= MESSAGE_BYTES_MAX,
        "{} bytes",
        state.encode().len()
    );
    assert_eq!(Message::decode(&state.encode()), Ok(Message::State(state)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_rejected(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&body);
    }

    #[test]
    fn any_damaged_state_is_read_or_rejected(at in 0..STATE.len(), byte in any::<u8>()) {
        let mut body = STATE.as_bytes().to_vec();
        body[at] = byte;
        let _ = Message::decode(&body);
    }

    #[test]
    fn rates_in_thousandths_arrive_unchanged(capacity in 0u64..1_000_000_000_000, demand in 0u64..1_000_000_000_000) {
        let function = FunctionState {
            capacity_rps: capacity as f64 / 1e3,
            demand_rps: demand as f64 / 1e3,
            service_time_p95_s: None,
        };
        let functions = [(FunctionName::new("f").unwrap(), function)].into_iter().collect();
        let state = NodeState { functions, ..largest() };
        prop_assert_eq!(Message::decode(&state.encode()), Ok(Message::State(state)));
    }
}

/// What a node of a later version tells of the same version of messages: more fields, bands and longer names.
#[test]
fn what_newer_nodes_tell_is_taken_as_far_as_it_is_known() {
    let long = "f".repeat(64);
    let newer = STATE
        .replace(
            "\"Bands\":{\"n2\":1}",
            "\"Bands\":{\"n2\":7,\"n 3\":1,\"n4\":1000},\"Band\":9",
        )
        .replace(
            "\"figlet\":",
            &format!("\"{long}\":{{\"Capacity\":1,\"Demand\":1}},\"fig let\":[7],\"figlet\":"),
        )
        .replace(
            "\"Period\"",
            "\"Weather\":{\"Rain\":[true]},\"Neighbours\":[\"n2\",\"n 3\"],\"Period\"",
        );
    let Ok(Message::State(state)) = Message::decode(newer.as_bytes()) else {
        panic!("{:?}", Message::decode(newer.as_bytes()));
    };
    let names: Vec<&str> = state.functions.keys().map(FunctionName::as_str).collect();
    assert_eq!(names, ["figlet"]);
    assert_eq!(
        (state.band, state.scope.to_string()),
        (RttBand::FARTHEST, "n2".to_owned())
    );
    assert_eq!(state.bands.len(), 2);
    assert!(state.bands.values().all(|&band| band == RttBand::FARTHEST));
    let offer = format!(
        r#"{{"MsgType":"nodeinfoRecalc","HAProxyHost":"10.0.0.1","HAProxyPort":80,
            "FuncLimits":{{"12D3B":{{"figlet":10,"{long}":3}},"a b":{{"figlet":1}}}}}}"#
    );
    let Ok(Message::Offer(offer)) = Message::decode(offer.as_bytes()) else {
        panic!("not an offer");
    };
    assert_eq!(offer.limits.values().map(BTreeMap::len).collect::<Vec<_>>(), [1]);
    let info = format!(
        r#"{{"MsgType":"nodeinfoStatic","HAProxyHost":"10.0.0.1","HAProxyPort":80,"Functions":["figlet","{long}"]}}"#
    );
    let Ok(Message::StaticInfo(info)) = Message::decode(info.as_bytes()) else {
        panic!("not an info");
    };
    assert_eq!(info.functions.len(), 1);
}

#[test]
fn what_only_a_newer_version_can_read_is_not_held_against_its_sender() {
    let changed = |version: u32| {
        STATE
            .replace("{\"MsgType\"", &format!("{{\"V\":{version},\"MsgType\""))
            .replace("\"Period\":1.0", "\"Period\":\"PT1S\"")
    };
    assert_eq!(Message::decode(changed(1).as_bytes()), Err(Rejection::Malformed));
    assert_eq!(
        Message::decode(changed(2).as_bytes()),
        Err(Rejection::NewerVersion)
    );
    let same = STATE.replace("{\"MsgType\"", "{\"V\":2,\"MsgType\"");
    assert!(matches!(Message::decode(same.as_bytes()), Ok(Message::State(_))));
    let own = String::from_utf8(largest().encode()).unwrap();
    assert!(own.contains("\"V\":1,"), "{}", &own[..80]);
}

/// As many functions and peers as permitted, with the longest names of functions, identities of libp2p and the longest numbers.
fn largest() -> NodeState {
    let function = FunctionState {
        capacity_rps: 999_999_999.999,
        demand_rps: 999_999_999.999,
        service_time_p95_s: Some(86_399.999_999),
    };
    let functions = (0..FUNCTIONS_MAX).map(|i| (FunctionName::new(format!("{i:063}")).unwrap(), function));
    let peers = || (0..PEERS_MAX).map(|i| NodeId::new(format!("{i:052}")).unwrap());
    NodeState {
        version: (u64::MAX, u64::MAX),
        service: "255.255.255.254:65535".parse().unwrap(),
        period: Duration::from_millis(1500),
        functions: functions.collect(),
        band: RttBand::from(0),
        bands: peers().map(|id| (id, RttBand::FARTHEST)).collect(),
        scope: peers().collect(),
        admitted: peers().collect(),
        unreachable: peers().collect(),
    }
}

#[track_caller]
fn rejected(what: &str, by: &str, want: Rejection) {
    assert!(STATE.contains(what), "nothing to replace");
    assert_eq!(Message::decode(STATE.replace(what, by).as_bytes()), Err(want));
}
