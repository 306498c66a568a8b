use clap::{Args as _, FromArgMatches as _};

use super::*;
use crate::config::Options;

#[test]
fn each_layer_goes_before_the_next() {
    let file = File::new("strategy = \"static\"\ntopic-typo = 1\n");
    let layers = file.merge(&[], &[]);
    assert!(
        layers
            .mistakes
            .to_string()
            .contains("there is no option \"topic-typo\"")
    );
    let file = File::new(
        "strategy = \"static\"\nopenfaas-port = 81\nlisten = [\"/ip4/1.2.3.4/tcp/1\", \"/ip4/1.2.3.5/tcp/1\"]\n",
    );
    let shown = |arguments: &[&str], environment: &[(&str, &str)]| file.show(arguments, environment);
    let path = file.path.display();
    let text = shown(&[], &[]);
    assert!(
        text.contains(&format!("strategy = \"static\"  # {path}\n")),
        "{text}"
    );
    assert!(
        text.contains(&format!("openfaas-port = \"81\"  # {path}\n")),
        "{text}"
    );
    assert!(
        text.contains("listen = \"/ip4/1.2.3.4/tcp/1,/ip4/1.2.3.5/tcp/1\""),
        "{text}"
    );
    assert!(text.contains("recalc-period = \"1s\"  # default\n"), "{text}");
    let text = shown(&[], &[("DFAAS_STRATEGY", "recalc")]);
    assert!(
        text.contains("strategy = \"recalc\"  # DFAAS_STRATEGY\n"),
        "{text}"
    );
    let text = shown(&["--strategy=all-local"], &[("DFAAS_STRATEGY", "recalc")]);
    assert!(text.contains("strategy = \"all-local\"  # flag\n"), "{text}");
}

#[test]
fn what_is_shown_is_a_file_and_keeps_its_secrets() {
    let file = File::new("");
    let text = file.show(&["--openfaas-pass=very secret"], &[]);
    assert!(!text.contains("very secret"), "{text}");
    let table: Table = text.parse().unwrap();
    assert!(table.len() > 30, "{text}");
    let again = File::new(&text).merge(&[], &[]);
    assert!(again.mistakes.to_string().is_empty(), "{}", again.mistakes);
}

#[test]
fn strange_names_are_told() {
    let file = File::new("");
    let strange = [
        ("DFAAS_STRATEGI", "x"),
        ("DFAAS_CLIENT_TIMEOUT", "1s"),
        ("DFAAS_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("DFAAS_TEST_NETEM", "loss 2%"),
        ("AGENT_REJECTOR_HOST", "x"),
        ("AGENT_RLMODEL_EXPLORE", "x"),
        ("AGENT_NONSENSE", "x"),
        ("AGENT_STRATEGY", "recalc"),
        ("HOME", "/"),
    ];
    let layers = file.merge(&[], &strange);
    assert_eq!(layers.mistakes.to_string(), "");
    let want = [
        "AGENT_NONSENSE is no option, neither here nor of the Go agents",
        "AGENT_REJECTOR_HOST is of the Go agents and has no meaning here",
        "AGENT_RLMODEL_EXPLORE is of the Go agents and has no meaning here",
        "DFAAS_PORT_80_TCP is no option of this command",
        "DFAAS_STRATEGI is no option of this command",
    ];
    assert_eq!(layers.warnings, want);
}

#[test]
fn a_file_that_is_named_must_be_there_and_be_toml() {
    let command = command();
    let merge = |path: &str| {
        let arguments = ["run", "--config", path].map(OsString::from);
        Layers::merge(&command, arguments.into(), &BTreeMap::new())
    };
    assert!(
        merge("/nowhere/agent.toml")
            .mistakes
            .to_string()
            .contains("/nowhere/agent.toml")
    );
    let file = File::new("strategy = \n");
    assert!(merge(file.path.to_str().unwrap()).mistakes.has_wrong_usage());
    let file = File::new("[strategy]\nname = 1\n");
    assert!(
        merge(file.path.to_str().unwrap())
            .mistakes
            .to_string()
            .contains("strategy is neither text")
    );
}

#[test]
fn all_commands_have_the_layers_of_what_they_share_with_run() {
    let file = File::new(
        "api = \"127.0.0.1:9999\"\nstate-dir = \"/somewhere\"\ninterface = \"eth7\"\nnetns = \"7\"\nstrategy = \"recalc\"\n",
    );
    let command = <crate::cli::Args as clap::CommandFactory>::command();
    let path = file.path.to_str().unwrap();
    let merged = |arguments: &[&str], environment: &[(&str, &str)]| {
        let file = ["--config", path];
        let own = ["dfaas-agent"].iter().chain(arguments).chain(&file);
        let variable = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let environment = environment.iter().map(variable).collect();
        let layers = Layers::merge(&command, own.map(OsString::from).collect(), &environment);
        assert!(layers.mistakes.is_empty(), "{}", layers.mistakes);
        assert!(command.clone().try_get_matches_from(&layers.arguments).is_ok());
        let added = layers.arguments.iter().skip(arguments.len() + 3);
        added
            .map(|text| text.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let asks = ["--api=127.0.0.1:9999"];
    for command in [
        &["status"][..],
        &["explain", "figlet"],
        &["strategy"],
        &["status", "--json"],
    ] {
        assert_eq!(merged(command, &[]), asks, "{command:?}");
        // A variable goes before the file.
        assert_eq!(
            merged(command, &[("DFAAS_API", "[::1]:1")]),
            ["--api=[::1]:1"],
            "{command:?}"
        );
    }
    assert_eq!(merged(&["id"], &[]), ["--state-dir=/somewhere"]);
    assert_eq!(merged(&["id", "--state-dir=/here"], &[]), [""; 0]);
    assert_eq!(merged(&["check"], &[]), ["--interface=eth7", "--netns=7"]);
    assert!(merged(&["haproxy-config"], &[]).contains(&"--interface=eth7".to_owned()));
    let wrong = File::new("interfase = \"eth7\"\n");
    let arguments = ["dfaas-agent", "status", "--config", wrong.path.to_str().unwrap()];
    let layers = Layers::merge(&command, arguments.map(OsString::from).into(), &BTreeMap::new());
    assert!(
        layers
            .mistakes
            .to_string()
            .contains("there is no option \"interfase\"")
    );
}

/// A configuration file.
struct File {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn merge(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Layers {
        let own = ["run", "--config", self.path.to_str().unwrap()];
        let arguments = own.iter().chain(arguments).map(OsString::from).collect();
        let environment = environment
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Layers::merge(&command(), arguments, &environment)
    }

    fn show(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let layers = self.merge(arguments, environment);
        let command = command();
        let matches = command.clone().try_get_matches_from(&layers.arguments).unwrap();
        Options::from_arg_matches(&matches).unwrap();
        layers.show(&command, &matches)
    }
}

fn command() -> Command {
    Options::augment_args(Command::new("run"))
}

#[test]
fn the_providers_variables_are_known() {
    let definition = include_str!("../../../../dfaas-provider/src/cli.rs");
    let names = definition.split("env = \"").skip(1);
    let names: Vec<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
    let of_provider = names.iter().filter(|name| name.starts_with(PREFIX));
    let mut of_provider: Vec<&str> = of_provider.copied().collect();
    of_provider.sort_unstable();
    assert_eq!(of_provider, OF_PROVIDER);
    // What both heard would mean two things.
    let command = crate::config::Options::augment_args(Command::new("run"));
    let ours: BTreeSet<String> = options(&command).map(|(name, _)| variable(name)).collect();
    for name in OF_PROVIDER {
        assert!(!ours.contains(name), "{name}");
    }
}
