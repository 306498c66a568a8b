use std::collections::BTreeMap;

use dfaas_control::{
    Counters, FunctionCounters, FunctionName, FunctionSpec, MarginSettings, Neighbourhood, NodeId, Token,
    Tokenless,
};

use super::*;

const PEER: &str = r#"{"MsgType":"nodestate","Incarnation":1,"Sequence":1,"HAProxyHost":"10.0.0.2","HAProxyPort":80,
    "Period":60,"Functions":{"f":{"Capacity":20,"Demand":0}}}"#;

#[test]
fn a_recording_tells_again_what_was_decided() {
    let (_folder, path, decided) = recorded();
    let replayed = lines(&path, None);
    assert!(decided.len() > 2, "{decided:#?}");
    assert_eq!(replayed, decided);
    assert!(
        replayed.last().unwrap().contains("f  local 10.0/s"),
        "{replayed:#?}"
    );
    assert!(
        replayed.iter().any(|line| line.contains("n2=100.0%")),
        "{replayed:#?}"
    );
}

#[test]
fn another_strategy_decides_otherwise_from_the_same() {
    let (_folder, path, _) = recorded();
    let replayed = lines(&path, Some(StrategyKind::AllLocal));
    assert_eq!(replayed.len(), 1, "{replayed:#?}");
    assert!(replayed[0].contains("f  local inf/s"), "{replayed:#?}");
    // Static decides once a period, although nobody told the recorded node to wake for it.
    assert!(lines(&path, Some(StrategyKind::Static))[0].contains("here 100.0%"));
}

#[test]
fn a_recording_has_no_tokens() {
    let (_folder, path, _) = recorded();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("TokenTold") && !text.contains("abab"), "{text}");
}

#[test]
fn what_is_no_recording_is_told_with_its_line() {
    let (folder, path, _) = recorded();
    let error = |text: &str| {
        let path = folder.path().join("wrong");
        std::fs::write(&path, text).unwrap();
        format!("{:#}", replay(&path, None, false, &mut |_| Ok(())).unwrap_err())
    };
    assert!(error("").contains("empty"));
    assert!(error("{}").contains("first line"));
    let header = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    assert!(error(&format!("{header}\nnonsense\n")).contains("line 2"));
    assert!(error(&header.replace("\"dfaas_recording\":1", "\"dfaas_recording\":9")).contains("format 9"));
}

#[test]
fn a_recording_begins_anew_behind_a_restart_and_keeps_the_one_before() {
    let (_folder, path, decided) = recorded();
    drop(Recorder::create(&path, &settings(), clock::now()).unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    let mut older = path.clone().into_os_string();
    older.push(".old");
    assert_eq!(lines(std::path::Path::new(&older), None), decided);
}

#[test]
fn a_file_that_cannot_be_made_is_told_with_its_flag() {
    let path = std::path::Path::new("/proc/nowhere/recording");
    let error = format!(
        "{:#}",
        Recorder::create(path, &settings(), clock::now()).unwrap_err()
    );
    assert!(error.contains("--record"), "{error}");
}

#[test]
fn a_recording_ends_before_it_is_too_long() {
    let (sender, lines) = std::sync::mpsc::sync_channel(3);
    for line in ["12345", "67890", "late"] {
        sender.send(line.to_owned()).unwrap();
    }
    drop(sender);
    let mut file = Vec::new();
    write(&mut file, &lines, 12);
    assert_eq!(file, b"12345\n67890\n");
}

/// Three seconds of a node that is asked for more and more, and what it decided.
fn recorded() -> (tempfile::TempDir, std::path::PathBuf, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let start = clock::now();
    let mut player = Player::new(settings(), None).unwrap();
    let mut recorder = Recorder::create(&path, &settings(), player.start).unwrap();
    assert!(start <= player.start);
    let id = NodeId::new("n2").unwrap();
    let functions = BTreeMap::from([(name(), FunctionSpec { capacity_rps: 10.0 })]);
    let (from, peer) = (id.clone(), id.clone());
    let told = Input::TokenTold {
        from: id.clone(),
        token: Token::new([0xab; 16]),
        has_ours: false,
    };
    let inputs = [
        Input::Functions(functions),
        Input::PeerUp { id, rtt: None },
        told,
        Input::Message {
            from,
            body: PEER.into(),
        },
        Input::Probed {
            peer,
            service: "10.0.0.2:80".parse().unwrap(),
            is_there: true,
        },
    ];
    let mut decided = Vec::new();
    let mut tell = |at: Duration, event: Event| {
        let now = player.start + at;
        let line = serde_json::to_string(&event).unwrap();
        recorder.note(now, event);
        player.play(Entry {
            at_ns: at.as_nanos() as u64,
            event: serde_json::from_str(&line).unwrap(),
        });
        let note = &mut |line: &str| {
            decided.push(line.to_owned());
            Ok(())
        };
        player.tell(note).unwrap();
    };
    for input in inputs {
        tell(Duration::from_millis(5), Event::Input(input));
    }
    for tenth in 1..=30u32 {
        let at = Duration::from_millis(101) * tenth;
        let counted = FunctionCounters {
            user: u64::from(tenth / 4),
            ..FunctionCounters::default()
        };
        let counters = Counters {
            elapsed: Duration::from_millis(101),
            functions: BTreeMap::from([(name(), counted)]),
        };
        tell(at, Event::Input(Input::Counters(counters)));
        tell(at, Event::Timeout);
    }
    (folder, path, decided)
}

fn lines(path: &Path, strategy: Option<StrategyKind>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut note = |line: &str| {
        lines.push(line.to_owned());
        Ok(())
    };
    replay(path, strategy, false, &mut note).unwrap();
    lines
}

fn settings() -> Settings {
    Settings {
        node: NodeId::new("n1").unwrap(),
        incarnation: 1,
        service: "10.0.0.1:80".parse().unwrap(),
        period: Duration::from_secs(1),
        strategy: StrategyKind::WaterFilling,
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::default(),
        neighbourhood: Neighbourhood::default(),
        shadow: None,
        default_capacity_rps: 10.0,
        node_margin: MarginSettings::default(),
    }
}

fn name() -> FunctionName {
    FunctionName::new("f").unwrap()
}
