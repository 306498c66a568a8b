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
        ("AGENT_REJECTOR_HOST", "x"),
        ("AGENT_RLMODEL_EXPLORE", "x"),
        ("AGENT_NONSENSE", "x"),
        ("AGENT_STRATEGY", "recalc"),
        ("HOME", "/"),
    ];
    let layers = file.merge(&[], &strange);
    assert_eq!(
        layers.mistakes.to_string(),
        "DFAAS_STRATEGI: there is no such option"
    );
    let want = [
        "AGENT_NONSENSE is no option, neither here nor of the Go agents",
        "AGENT_REJECTOR_HOST is of the Go agents and has no meaning here",
        "AGENT_RLMODEL_EXPLORE is of the Go agents and has no meaning here",
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
