//! The variables of the Go agents: what each is here.

use std::{collections::BTreeMap, fs, process::Command};

/// All of the reference, with a value other than the default, and the option that it stands for. Those without one mean
/// nothing here, and are said to.
const VARIABLES: [(&str, &str, Option<&str>); 41] = [
    ("AGENT_DEBUG", "true", Some("debug")),
    ("AGENT_LOG_DATETIME", "false", Some("log-datetime")),
    ("AGENT_LOG_COLORS", "true", Some("log-colors")),
    ("AGENT_NODE_IP", "192.0.2.7", Some("node-ip")),
    ("AGENT_LISTEN", "/ip4/0.0.0.0/tcp/31601", Some("listen")),
    ("AGENT_PRIVATE_KEY_FILE", "/key.pem", Some("private-key-file")),
    ("AGENT_BOOTSTRAP_NODES", "false", Some("bootstrap-nodes")),
    (
        "AGENT_PUBLIC_BOOTSTRAP_NODES",
        "true",
        Some("public-bootstrap-nodes"),
    ),
    (
        "AGENT_BOOTSTRAP_NODES_LIST",
        "/ip4/192.0.2.1/tcp/31600",
        Some("bootstrap-nodes-list"),
    ),
    ("AGENT_BOOTSTRAP_NODES_FILE", "FILE", Some("bootstrap-nodes-file")),
    // Bootstrap nodes are dialled for ever anyway, and nobody waits for them.
    ("AGENT_BOOTSTRAP_FORCE", "true", None),
    ("AGENT_RENDEZVOUS", "elsewhere", Some("rendezvous")),
    ("AGENT_MDNS_ENABLED", "false", Some("mdns-enabled")),
    ("AGENT_KAD_IDLE_TIME", "7s", Some("kad-idle-time")),
    ("AGENT_PUBSUB_TOPIC", "/other/1.0.0", Some("pubsub-topic")),
    ("AGENT_RECALC_PERIOD", "1m0s", Some("recalc-period")),
    // HAProxy's configuration is our own, and so is the way to it.
    ("AGENT_HAPROXY_CONFIG_FILE", "/haproxy.cfg", None),
    ("AGENT_HAPROXY_HOST", "haproxy", None),
    ("AGENT_HAPROXY_PORT", "8081", Some("service-port")),
    ("AGENT_DATAPLANEAPI_HOST", "haproxy", None),
    ("AGENT_DATAPLANEAPI_PORT", "5555", None),
    ("AGENT_DATAPLANEAPI_USER", "admin", None),
    ("AGENT_DATAPLANEAPI_PASSWORD", "admin", None),
    ("AGENT_RUNTIMEAPI_HOST", "haproxy", None),
    ("AGENT_RUNTIMEAPI_PORT", "6666", None),
    ("AGENT_OPENFAAS_HOST", "gateway", Some("openfaas-host")),
    ("AGENT_OPENFAAS_PORT", "8082", Some("openfaas-port")),
    ("AGENT_REJECTOR_HOST", "rejector", None),
    ("AGENT_REJECTOR_PORT", "8080", None),
    // Rates and times are the data plane's, and usage is of /proc.
    ("AGENT_PROMETHEUS_HOST", "prometheus", None),
    ("AGENT_PROMETHEUS_PORT", "80", None),
    ("AGENT_PROMETHEUS_STEP", "5s", None),
    ("AGENT_STRATEGY", "nodemarginstrategy", Some("strategy")),
    ("AGENT_GROUP_LIST_FILE_NAME", "GROUPS", Some("group-list-file")),
    ("AGENT_NODE_TYPE", "2", Some("node-type")),
    ("AGENT_NMS_CPU_THRESHOLD", "90.5", Some("nms-cpu-threshold")),
    (
        "AGENT_NMS_RAM_THRESHOLD",
        "1000000000.0",
        Some("nms-ram-threshold"),
    ),
    ("AGENT_NMS_POWER_THRESHOLD", "100.0", Some("nms-power-threshold")),
    // The model is asked by --external-url instead.
    ("AGENT_RLMODEL_HOST", "localhost", None),
    ("AGENT_RLMODEL_PORT", "6666", None),
    ("AGENT_RLMODEL_EXPLORE", "true", None),
];

#[test]
fn each_variable_of_the_go_agents_is_honoured_or_said_to_mean_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let files = BTreeMap::from([
        ("FILE", file("nodes", "/ip4/192.0.2.2/tcp/31600\n")),
        ("GROUPS", file("groups.json", r#"{"LOW_USAGE":["figlet"]}"#)),
    ]);
    let value = |value: &str| files.get(value).cloned().unwrap_or_else(|| value.to_owned());
    let variables = || {
        VARIABLES
            .into_iter()
            .map(|(name, text, option)| (name, value(text), option))
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_dfaas-agent"));
    command
        .env_clear()
        .args(["config", "show", "--interface", "lo", "--node-ipv6", "off"]);
    command.envs(variables().map(|(name, value, _)| (name, value)));
    let output = command.output().unwrap();
    let [shown, told] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{told}");
    for (name, value, option) in variables() {
        match option {
            Some(option) => {
                let line = format!("\n{option} = {value:?}  # {name}\n");
                assert!(shown.contains(&line), "no {line:?} in {shown}");
                assert!(!told.contains(&format!("{name} is")), "{told}");
            }
            None => {
                let line = format!("{name} is of the Go agents and has no meaning here\n");
                assert!(told.contains(&line), "no {line:?} in {told}");
                assert!(!shown.contains(&format!("# {name}\n")), "{shown}");
            }
        }
    }
}

#[test]
fn each_honoured_variable_is_checked_like_its_option() {
    for (name, wrong) in [
        ("AGENT_DEBUG", "perhaps"),
        ("AGENT_LOG_DATETIME", "perhaps"),
        ("AGENT_LOG_COLORS", "red"),
        ("AGENT_NODE_IP", "here"),
        ("AGENT_LISTEN", "31600"),
        ("AGENT_BOOTSTRAP_NODES", "some"),
        ("AGENT_PUBLIC_BOOTSTRAP_NODES", "some"),
        ("AGENT_BOOTSTRAP_NODES_LIST", "192.0.2.1"),
        ("AGENT_BOOTSTRAP_NODES_FILE", "/nowhere/nodes"),
        ("AGENT_RENDEZVOUS", ""),
        ("AGENT_MDNS_ENABLED", "2"),
        ("AGENT_KAD_IDLE_TIME", "soon"),
        ("AGENT_PUBSUB_TOPIC", ""),
        ("AGENT_RECALC_PERIOD", "soon"),
        ("AGENT_HAPROXY_PORT", "http"),
        ("AGENT_OPENFAAS_HOST", "http://gateway"),
        ("AGENT_OPENFAAS_PORT", "0"),
        ("AGENT_STRATEGY", "rlagentstrategy"),
        ("AGENT_GROUP_LIST_FILE_NAME", "/nowhere/groups"),
        ("AGENT_NODE_TYPE", "heavy"),
        ("AGENT_NMS_CPU_THRESHOLD", "0"),
        ("AGENT_NMS_RAM_THRESHOLD", "much"),
        ("AGENT_NMS_POWER_THRESHOLD", "-1"),
    ] {
        let option = VARIABLES
            .iter()
            .find(|(known, ..)| *known == name)
            .and_then(|(.., option)| *option);
        let flag = format!("--{}: ", option.unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_dfaas-agent"));
        command.env_clear().env(name, wrong).args([
            "config",
            "show",
            "--interface",
            "lo",
            "--node-ipv6",
            "off",
        ]);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains(&flag),
            "{name}={wrong}: {told}"
        );
    }
}
