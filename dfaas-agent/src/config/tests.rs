use std::net::IpAddr;

use clap::{CommandFactory, Parser};

use super::*;
use crate::data_plane::{DataInSyn, ProgramLevel};

const DEVICES: &str = "Inter-|   Receive\n face |bytes\n    lo: 1 2\n  eth0: 3 4\n  eth1: 5 6\n";
const ROUTES: &str = "Iface\tDestination\neth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";

/// A mistake for each option that can be wrong.
const WRONG: [&str; 69] = [
    "--debug=perhaps",
    "--log-datetime=perhaps",
    "--log-colors=red",
    "--bootstrap-nodes=perhaps",
    "--listen=",
    "--bootstrap-nodes-list=10.0.0.8:31600",
    "--bootstrap-nodes-file=/nowhere/nodes",
    "--mdns-enabled=2",
    "--public-bootstrap-nodes=maybe",
    "--kad-enabled=maybe",
    "--rendezvous=",
    "--kad-protocol=ipfs",
    "--kad-idle-time=-1s",
    "--kad-advertise-interval=0",
    "--kad-refresh-interval=1ms",
    "--kad-replication=0",
    "--mdns-interval=often",
    "--overlay-connections-max=0",
    "--overlay-connections-per-peer-max=x",
    "--overlay-pending-max=-1",
    "--overlay-dial-timeout=0",
    "--overlay-dial-delay-max=0",
    "--overlay-ping-interval=0",
    "--overlay-ping-timeout=0",
    "--overlay-silence=0",
    "--overlay-stranger-time=0",
    "--overlay-heartbeat=0",
    "--behind-nat=perhaps",
    "--relay-enabled=perhaps",
    "--relay-reservations-max=0",
    "--relay-circuits-max=0",
    "--relay-circuits-per-peer-max=0",
    "--relay-circuit-time-max=9999999h",
    "--relay-circuit-bytes-max=x",
    "--overlay-message-rate-max=0",
    "--overlay-malformed-max=0",
    "--overlay-ban-time=0",
    "--quic-enabled=perhaps",
    "--swarm-key-file=/nowhere/swarm.key",
    "--pubsub-topic=",
    "--recalc-period=99ms",
    "--strategy=luck",
    "--shadow=chance",
    "--neighbours=some",
    "--external-url=service:80",
    "--forecaster=tree",
    "--group-list-file=/nowhere/groups",
    "--node-type=heavy",
    "--nms-cpu-threshold=0",
    "--nms-ram-threshold=inf",
    "--nms-power-threshold=x",
    "--default-maxrate=-1",
    "--openfaas-host=http://gateway",
    "--openfaas-port=0",
    "--openfaas-user=admin",
    "--interface=eth9",
    "--node-ip=::1",
    "--service-port=65536",
    "--functions-port=x",
    "--data-in-syn=sometimes",
    "--log-programs=loud",
    "--nat-ports=40960-57344",
    "--idle-timeout=0",
    "--pins=here",
    "--unattended=1s",
    "--flows-max=1000",
    "--haproxy=perhaps",
    "--proxy-port=0",
    "--api=8070",
];

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

#[test]
fn nothing_has_to_be_told() {
    let config = check(&[]).unwrap();
    let listen = ["/ip4/0.0.0.0/tcp/31600", "/ip4/0.0.0.0/udp/31600/quic-v1"];
    assert_eq!(config.listen, listen.map(|address| address.parse().unwrap()));
    assert_eq!(config.swarm_key, None);
    assert!(config.behind_nat == BehindNat::Unknown && config.relay.is_none());
    assert_eq!(config.key_file, PathBuf::from("/var/lib/dfaas/identity.pem"));
    assert_eq!(config.topic, "/dfaasagent/1.0.0");
    assert!(config.mdns && !config.debug && config.bootstrap.is_empty());
    assert_eq!(config.tuning, Tuning::default());
    let discovery = config.discovery.clone().unwrap();
    assert_eq!(discovery.rendezvous, "dfaasagent-mYRGdJPC3chmJ");
    assert_eq!(discovery.protocol, "/ipfs/kad/1.0.0");
    assert_eq!(discovery.idle, Duration::from_secs(60));
    assert_eq!(config.interface, "eth0");
    assert_eq!(config.service.to_string(), "10.0.0.7:80, [fd00::7]:80");
    assert_eq!(config.functions_port, 8090);
    assert_eq!(
        (config.platform.host.as_str(), config.platform.port),
        ("127.0.0.1", 8080)
    );
    assert_eq!(config.platform.credentials, None);
    assert_eq!(config.api, "127.0.0.1:8070".parse().unwrap());
    let settings = config.settings(node(), 7);
    assert_eq!(settings.period, Duration::from_secs(1));
    assert_eq!(settings.strategy, StrategyKind::WaterFilling);
    assert_eq!(settings.neighbourhood, Neighbourhood::Everyone);
    assert_eq!((settings.incarnation, settings.default_capacity_rps), (7, 100.0));
    let data_plane = config.data_plane(node());
    assert_eq!(data_plane.data_in_syn, DataInSyn::Peers);
    assert_eq!(data_plane.nat_ports, (40960, 57343));
    assert_eq!(data_plane.idle_timeout, Duration::from_secs(300));
    assert_eq!(data_plane.flows_max, 131_072);
    assert_eq!(data_plane.log, ProgramLevel::Off);
}

#[test]
fn everything_can_be_told() {
    let config = check(&[
        "--debug",
        "--listen=/ip4/10.0.0.7/tcp/1,/ip6/::1/tcp/2",
        "--private-key-file=key.pem",
        "--bootstrap-nodes-list= /ip4/10.0.0.8/tcp/31600 ,",
        "--mdns-enabled",
        "false",
        "--pubsub-topic=t",
        "--recalc-period=1m30s",
        "--strategy=recalcstrategy",
        "--neighbours=nearest:3",
        "--node-ip=192.0.2.1",
        "--node-ipv6=off",
        "--service-port=8000",
        "--openfaas-host=::1",
        "--interface=eth1",
        "--data-in-syn=never",
        "--log-programs=Debug",
        "--nat-ports=50000-50000",
        "--idle-timeout=1m",
        "--default-maxrate=2.5",
        "--api=[::1]:1",
    ])
    .unwrap();
    assert!(config.debug && !config.mdns);
    assert_eq!((config.listen.len(), config.bootstrap.len()), (4, 1));
    assert_eq!(config.key_file, PathBuf::from("key.pem"));
    assert_eq!(config.service, "192.0.2.1:8000".parse().unwrap());
    assert_eq!(config.platform.host, "[::1]");
    let settings = config.settings(node(), 7);
    assert_eq!(
        (settings.period, settings.strategy),
        (Duration::from_secs(90), StrategyKind::Recalc)
    );
    assert_eq!(settings.neighbourhood, Neighbourhood::Nearest(3));
    let data_plane = config.data_plane(node());
    assert_eq!(
        (data_plane.data_in_syn, data_plane.nat_ports),
        (DataInSyn::Never, (50000, 50000))
    );
    assert_eq!(data_plane.log, ProgramLevel::Debug);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mistakes = check(&WRONG).unwrap_err();
    assert!(mistakes.has_wrong_usage());
    for argument in WRONG {
        let flag = argument.split('=').next().unwrap();
        let told = mistakes
            .lines()
            .iter()
            .filter(|line| {
                line.strip_prefix(flag)
                    .is_some_and(|rest| rest.starts_with([':', ',']))
            })
            .count();
        assert_eq!(told, 1, "{flag} in:\n{mistakes}");
    }
    assert_eq!(mistakes.lines().len(), WRONG.len());
}

#[test]
fn what_the_host_lacks_is_no_wrong_usage() {
    let mistakes = check(&["--interface=eth9"]).unwrap_err();
    assert_eq!(
        mistakes.lines(),
        ["--interface: there is no \"eth9\"; there are eth0, eth1, lo"]
    );
    assert!(!mistakes.has_wrong_usage());
    let mistakes = check(&["--interface=eth1"]).unwrap_err();
    assert!(
        mistakes.lines()[0].starts_with("--node-ip: eth1 has no IPv4 address"),
        "{mistakes}"
    );
    assert!(!mistakes.has_wrong_usage());
}

#[test]
fn peers_are_met_over_tcp_and_quic() {
    const ID: &str = "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd";
    for good in [
        "/ip4/10.0.0.8/tcp/1",
        "/ip6/::1/tcp/1",
        "/dns4/node2.example/tcp/31600",
        "/ip4/10.0.0.8/udp/31600/quic-v1",
        &format!("/ip4/10.0.0.8/tcp/1/p2p/{ID}"),
        &format!("/dnsaddr/node2.example/p2p/{ID}"),
    ] {
        assert!(
            check(&[&format!("--bootstrap-nodes-list={good}")]).is_ok(),
            "{good}"
        );
    }
    for bad in [
        "/dnsaddr/node2.example",
        "/ip4/10.0.0.8/udp/31600",
        "/ip4/10.0.0.8/tcp/80/ws",
        "/ip4/10.0.0.8",
        &format!("/p2p/{ID}"),
    ] {
        for flag in ["--listen", "--bootstrap-nodes-list"] {
            let mistakes = check(&[&format!("{flag}={bad}")]).unwrap_err();
            assert!(mistakes.lines()[0].contains("over TCP or QUIC"), "{mistakes}");
        }
    }
}

#[test]
fn listeners_have_addresses_of_their_own() {
    for bad in ["/dns4/node2.example/tcp/31600", "/ip4/10.0.0.8/tcp/1/ws"] {
        let mistakes = check(&[&format!("--listen={bad}")]).unwrap_err();
        assert!(
            mistakes.lines()[0].contains("agents listen over TCP or QUIC"),
            "{mistakes}"
        );
    }
}

#[test]
fn private_federations_have_no_quic() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarm.key");
    let text = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "0f".repeat(32));
    std::fs::write(&path, &text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let file = format!("--swarm-key-file={}", path.display());
    let config = check(&[&file]).unwrap();
    assert_eq!(config.listen, ["/ip4/0.0.0.0/tcp/31600".parse().unwrap()]);
    assert_eq!(config.swarm_key.unwrap().to_key_file(), text);
    for (argument, flag) in [
        ("--quic-enabled=true", "--quic-enabled"),
        ("--listen=/ip4/10.0.0.7/udp/1/quic-v1", "--listen"),
    ] {
        let mistakes = check(&[&file, argument]).unwrap_err();
        let want = format!("{flag}: QUIC cannot carry a pre-shared key (--swarm-key-file)");
        assert_eq!(mistakes.lines(), [want]);
    }
    assert_eq!(check(&["--quic-enabled=false"]).unwrap().listen.len(), 1);
    std::fs::write(&path, "0f0f").unwrap();
    assert!(check(&[&file]).unwrap_err().lines()[0].contains("is no swarm.key"));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(check(&[&file]).unwrap_err().lines()[0].contains("chmod 600"));
}

#[test]
fn discovery_goes_by_the_go_agents_rules() {
    assert_eq!(check(&["--kad-enabled=false"]).unwrap().discovery, None);
    let idle = |text: &str| check(&[text]).unwrap().discovery.unwrap().idle;
    assert_eq!(idle("--kad-idle-time=5s"), Duration::from_secs(5));
    assert_eq!(idle("--kad-idle-time=0"), Duration::from_secs(60));
    assert!(!check(&["--mdns-interval=0"]).unwrap().mdns);
    let public = check(&["--public-bootstrap-nodes=true"]).unwrap().bootstrap;
    assert_eq!(public.len(), 5);
    let silence = |argument: &str| check(&[argument]).unwrap().tuning.silence;
    assert_eq!(silence("--recalc-period=4s"), Duration::from_secs(12));
    assert_eq!(silence("--overlay-silence=20s"), Duration::from_secs(20));
}

#[test]
fn the_log_looks_as_it_is_told_to() {
    let log = |arguments: &[&str]| check(arguments).unwrap().log;
    let (has_time, has_colors) = (true, None);
    assert_eq!(log(&[]), LogStyle { has_time, has_colors });
    let (has_time, has_colors) = (false, Some(true));
    let told = ["--log-datetime=false", "--log-colors=true"];
    assert_eq!(log(&told), LogStyle { has_time, has_colors });
}

#[test]
fn named_peers_are_dialled_unless_told_otherwise() {
    let named = "--bootstrap-nodes-list=/ip4/10.0.0.8/tcp/31600";
    let bootstrap = |arguments: &[&str]| check(arguments).unwrap().bootstrap.len();
    assert_eq!(bootstrap(&[named]), 1);
    assert_eq!(
        bootstrap(&[named, "--public-bootstrap-nodes=true", "--bootstrap-nodes=false"]),
        0
    );
}

#[test]
fn periods_have_a_floor() {
    assert!(check(&["--recalc-period=100ms"]).is_ok());
    let mistakes = check(&["--recalc-period=99ms"]).unwrap_err();
    assert_eq!(
        mistakes.lines(),
        ["--recalc-period: period of 99ms is not between 100ms and 3600s"]
    );
}

#[test]
fn source_ports_are_as_many_as_a_power_of_two() {
    for good in ["1024-1024", "40960-57343", "60000-60001"] {
        assert!(check(&[&format!("--nat-ports={good}")]).is_ok(), "{good}");
    }
    for bad in ["", "1", "2-1", "0-1", "1000-1001", "40960-57342", "65535-65536"] {
        assert!(check(&[&format!("--nat-ports={bad}")]).is_err(), "{bad:?}");
    }
}

#[test]
fn haproxy_is_found_named_adopted_or_off() {
    let choice = |arguments: &[&str]| check(arguments).unwrap().proxy;
    assert_eq!(choice(&[]), ProxyChoice::Auto);
    assert_eq!(choice(&["--haproxy=off"]), ProxyChoice::Off);
    assert_eq!(
        choice(&["--haproxy=/opt/haproxy"]),
        ProxyChoice::At("/opt/haproxy".into())
    );
    assert_eq!(
        choice(&["--haproxy-socket=/run/h.sock"]),
        ProxyChoice::Adopted("/run/h.sock".into())
    );
    let both = check(&["--haproxy=/opt/haproxy", "--haproxy-socket=/run/h.sock"]).unwrap_err();
    assert!(both.lines()[0].contains("leave one of both away"), "{both}");
    assert_eq!(check(&[]).unwrap().proxy_bind, "127.0.0.1:8091".parse().unwrap());
    let same = check(&["--proxy-port=8090"]).unwrap_err();
    assert_eq!(
        same.lines(),
        ["--proxy-port: 8090 is the port of the platform (--functions-port)"]
    );
}

#[test]
fn files_hold_peers_and_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let nodes = file(
        "nodes",
        "# peers\n/ip4/10.0.0.8/tcp/31600\n\n/ip6/2001:db8::9/tcp/31600\n",
    );
    let (user, password) = (file("user", "admin\n"), file("password", "a b\r\n"));
    let config = check(&[
        "--bootstrap-nodes-list=/ip4/10.0.0.1/tcp/1",
        &format!("--bootstrap-nodes-file={nodes}"),
        &format!("--openfaas-user-file={user}"),
        &format!("--openfaas-pass-file={password}"),
    ])
    .unwrap();
    assert_eq!(config.bootstrap.len(), 3);
    let credentials = config.platform.credentials.unwrap();
    assert_eq!(
        (credentials.user.as_str(), credentials.password.as_str()),
        ("admin", "a b")
    );
    assert!(!format!("{credentials:?}").contains("a b"));
    let both = check(&["--openfaas-user=x", &format!("--openfaas-user-file={user}")]).unwrap_err();
    assert!(both.lines()[0].contains("choose one"), "{both}");
}

#[test]
fn every_option_has_a_variable() {
    let command = Command::command();
    let options = command.get_arguments().filter(|option| !option.is_global_set());
    for option in options {
        let variable = option.get_env().unwrap_or_default().to_string_lossy();
        assert!(
            variable.starts_with("AGENT_"),
            "{} has {variable:?}",
            option.get_id()
        );
    }
}

fn check(arguments: &[&str]) -> Result<Config, Mistakes> {
    let arguments = ["dfaas-agent"].iter().chain(arguments);
    let command = Command::try_parse_from(arguments).expect("texts are taken as they are");
    let address = Ipv4Addr::new(10, 0, 0, 7);
    let host = Host::new(
        DEVICES,
        ROUTES,
        &[
            ("lo".to_owned(), IpAddr::from(Ipv4Addr::LOCALHOST)),
            ("eth0".to_owned(), address.into()),
            ("eth0".to_owned(), "fe80::7".parse().unwrap()),
            ("eth0".to_owned(), "fd00::7".parse().unwrap()),
        ],
    );
    Config::check(&command.options, &host)
}

fn node() -> NodeId {
    NodeId::new("n1").unwrap()
}

#[test]
fn haproxy_steers_alone_only_where_there_is_one() {
    assert_eq!(check(&[]).unwrap().plane, PlaneChoice::Auto);
    assert_eq!(
        check(&["--data-plane=kernel"]).unwrap().plane,
        PlaneChoice::Kernel
    );
    let alone = "--data-plane=haproxy";
    assert_eq!(check(&[alone]).unwrap().plane, PlaneChoice::Haproxy);
    let told = |arguments: &[&str]| check(arguments).unwrap_err().to_string();
    assert!(told(&[alone, "--haproxy=off"]).starts_with("--haproxy: the data plane is HAProxy"));
    assert!(
        told(&["--data-plane=luck"])
            .starts_with("--data-plane: \"luck\" is not one of auto, kernel, haproxy")
    );
}

#[test]
fn platform_and_services_may_be_asked_by_https() {
    let config = check(&[
        "--openfaas-host=https://gateway.example",
        "--openfaas-port=443",
        "--external-url=https://advice.example/decide",
        "--forecaster=https://forecast.example:8443/usage",
        "--recalc-period=30s",
        "--service-timeout=20s",
    ])
    .unwrap();
    assert_eq!(
        (config.platform.scheme, config.platform.host.as_str()),
        ("https", "gateway.example")
    );
    assert_eq!(
        config.services.external.as_deref(),
        Some("https://advice.example/decide")
    );
    assert_eq!(config.services.patience, Duration::from_secs(20));
    let config = check(&["--recalc-period=30s"]).unwrap();
    assert_eq!(config.platform.scheme, "http");
    assert_eq!(config.services.patience, Duration::from_secs(30));
}

#[test]
fn a_service_has_no_longer_than_a_period() {
    for wrong in [
        "--service-timeout=0s",
        "--service-timeout=2s",
        "--service-timeout=soon",
    ] {
        let mistakes = check(&["--recalc-period=1s", wrong]).unwrap_err();
        let [line] = mistakes.lines()[..] else {
            panic!("{mistakes}");
        };
        assert!(line.starts_with("--service-timeout: "), "{line}");
    }
}
