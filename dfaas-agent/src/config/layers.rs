//! Where each option comes from: flags, then `DFAAS_*`, then `AGENT_*`, then a file, then defaults.
//!
//! clap knows flags, `AGENT_*` and defaults. What the other two layers say is handed to it as further flags.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::{self, Display, Formatter, Write},
    fs,
    io::ErrorKind,
};

use clap::{ArgMatches, Command, parser::ValueSource};
use toml::{Table, Value};

use super::mistakes::{Kind, Mistakes};

/// The command that has all options of the file.
const RUN: &str = "run";
const PREFIX: &str = "DFAAS_";
const ALIAS_PREFIX: &str = "AGENT_";
/// The option that names the file.
const FILE: &str = "config";
/// Read if it is there and no other is named.
const FILE_DEFAULT: &str = "/etc/dfaas/agent.toml";
/// Options whose values are not for every eye.
const SECRETS: [&str; 1] = ["openfaas-pass"];
/// Variables of tests begin so.
const OF_TESTS: [&str; 2] = ["DFAAS_TEST_", "DFAAS_TESTBED_"];
/// Variables of `dfaas-provider`, which may have the same environment.
const OF_PROVIDER: [&str; 14] = [
    "DFAAS_BASIC_AUTH_PASSWORD_FILE",
    "DFAAS_BASIC_AUTH_USER_FILE",
    "DFAAS_CALLBACK_ALLOW",
    "DFAAS_CLIENT_TIMEOUT",
    "DFAAS_FUNCTIONS",
    "DFAAS_FUNCTION_USER",
    "DFAAS_GATEWAY",
    "DFAAS_GRACE",
    "DFAAS_INSECURE",
    "DFAAS_MAX_PROCESSES",
    "DFAAS_MAX_REQUEST_BYTES",
    "DFAAS_NODE_NAME",
    "DFAAS_PROVIDER_STATE_DIR",
    "DFAAS_STACK",
];
/// What the Go agents know and this one does without.
const WITHOUT_MEANING: [&str; 16] = [
    "AGENT_BOOTSTRAP_FORCE",
    "AGENT_DATAPLANEAPI_HOST",
    "AGENT_DATAPLANEAPI_PASSWORD",
    "AGENT_DATAPLANEAPI_PORT",
    "AGENT_DATAPLANEAPI_USER",
    "AGENT_HAPROXY_CONFIG_FILE",
    "AGENT_HAPROXY_CONFIG_UPDATE_COMMAND",
    "AGENT_HAPROXY_HOST",
    "AGENT_HAPROXY_SOCK_PATH",
    "AGENT_HAPROXY_TEMPLATE_FILE",
    "AGENT_PROMETHEUS_HOST",
    "AGENT_PROMETHEUS_PORT",
    "AGENT_PROMETHEUS_STEP",
    "AGENT_REJECTOR_HOST",
    "AGENT_REJECTOR_PORT",
    "AGENT_RUNTIMEAPI_HOST",
];
/// The same, by what they begin with.
const WITHOUT_MEANING_PREFIXES: [&str; 2] = ["AGENT_RLMODEL_", "AGENT_RUNTIMEAPI_"];

/// Who said what an option is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable(String),
    File(String),
    Default,
}

/// All layers, ready for clap.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// The command line, with what other layers add to it.
    pub(crate) arguments: Vec<OsString>,
    /// By option. What is not here comes from clap's own layers.
    origins: BTreeMap<String, Origin>,
    /// What is wrong with variables and the file.
    pub(crate) mistakes: Mistakes,
    /// What a person should look at.
    pub(crate) warnings: Vec<String>,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => f.write_str(path),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Layers {
    /// Brings a command line, the environment and the file together.
    pub(crate) fn merge(
        command: &Command,
        arguments: Vec<OsString>,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let mut layers = Self {
            arguments: arguments.clone(),
            ..Self::default()
        };
        // What is wrong with the command line is told when it is parsed in earnest.
        let Ok(matches) = command
            .clone()
            .ignore_errors(true)
            .try_get_matches_from(arguments)
        else {
            return layers;
        };
        let shared: BTreeSet<(&str, &str)> =
            options(command.find_subcommand(RUN).unwrap_or(command)).collect();
        let (command, matches) = innermost(command, &matches);
        if !options(command).any(|(name, _)| name == FILE) {
            return layers;
        }
        let is_whole = shared
            .iter()
            .all(|option| options(command).any(|own| own == *option));
        let file = layers.file(matches, environment, is_whole);
        layers.note_unknown_keys(&shared, &file);
        if is_whole {
            layers.note_strange(command, environment);
        }
        for (name, id) in options(command).filter(|option| shared.contains(option)) {
            if name == FILE || matches.value_source(id) == Some(ValueSource::CommandLine) {
                continue;
            }
            let variable = variable(name);
            let said = if let Some(text) = environment.get(&variable) {
                Some((text.clone(), Origin::Variable(variable)))
            } else if matches.value_source(id) == Some(ValueSource::EnvVariable) {
                None
            } else {
                file.get(name).cloned()
            };
            if let Some((text, origin)) = said {
                layers.arguments.push(format!("--{name}={text}").into());
                layers.origins.insert(name.to_owned(), origin);
            }
        }
        layers
    }

    /// The file's options as text. All that is wrong with it is noted.
    fn file(
        &mut self,
        matches: &ArgMatches,
        environment: &BTreeMap<String, String>,
        is_whole: bool,
    ) -> BTreeMap<String, (String, Origin)> {
        let given = matches
            .get_raw(FILE)
            .and_then(|mut values| values.next_back())
            .map(|value| value.to_string_lossy().into_owned());
        let is_flag = matches.value_source(FILE) == Some(ValueSource::CommandLine);
        let variable = environment.get(&variable(FILE)).cloned();
        let named = variable.filter(|_| !is_flag).or(given);
        let path = named.clone().unwrap_or_else(|| FILE_DEFAULT.to_owned());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => return BTreeMap::new(),
            // Who asks a running agent may not be who may read its secrets.
            Err(error) if named.is_none() && !is_whole && error.kind() == ErrorKind::PermissionDenied => {
                return BTreeMap::new();
            }
            Err(error) => {
                self.mistakes
                    .note(Kind::Host, "--config", format_args!("{path}: {error}"));
                return BTreeMap::new();
            }
        };
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                self.mistakes
                    .note(Kind::Usage, &path, error.to_string().trim_end());
                return BTreeMap::new();
            }
        };
        let mut options = BTreeMap::new();
        for (key, value) in table {
            match as_text(&value) {
                Some(text) => drop(options.insert(key, (text, Origin::File(path.clone())))),
                None => {
                    let text = format!("{key} is neither text nor number nor a list of them");
                    self.mistakes.note(Kind::Usage, &path, text);
                }
            }
        }
        options
    }

    fn note_unknown_keys(
        &mut self,
        shared: &BTreeSet<(&str, &str)>,
        file: &BTreeMap<String, (String, Origin)>,
    ) {
        let is_known = |key: &str| key != FILE && shared.iter().any(|&(name, _)| name == key);
        for (key, (_, origin)) in file.iter().filter(|(key, _)| !is_known(key)) {
            let text = format_args!("there is no option {key:?}");
            self.mistakes.note(Kind::Usage, &origin.to_string(), text);
        }
    }

    fn note_strange(&mut self, command: &Command, environment: &BTreeMap<String, String>) {
        let variables: BTreeSet<String> = options(command).map(|(name, _)| variable(name)).collect();
        let aliases: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
            .collect();
        for name in environment.keys() {
            let is_of_others = OF_TESTS.iter().any(|prefix| name.starts_with(prefix))
                || OF_PROVIDER.contains(&name.as_str());
            // Kubernetes adds variables for each service by its name.
            if name.starts_with(PREFIX) && !is_of_others && !variables.contains(name) {
                self.warnings.push(format!("{name} is no option of this command"));
            }
            if !name.starts_with(ALIAS_PREFIX) || aliases.contains(name) {
                continue;
            }
            let is_without_meaning = WITHOUT_MEANING.contains(&name.as_str())
                || WITHOUT_MEANING_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix));
            self.warnings.push(if is_without_meaning {
                format!("{name} is of the Go agents and has no meaning here")
            } else {
                format!("{name} is no option, neither here nor of the Go agents")
            });
        }
    }

    /// All options of a command as a file could say them, each with its meaning and its origin.
    pub(crate) fn show(&self, command: &Command, matches: &ArgMatches) -> String {
        let (command, matches) = innermost(command, matches);
        let mut text = String::new();
        let options = command
            .get_arguments()
            .filter(|argument| argument.get_long().is_some());
        for argument in
            options.filter(|argument| !["help", FILE].contains(&argument.get_long().unwrap_or_default()))
        {
            let (id, name) = (
                argument.get_id().as_str(),
                argument.get_long().unwrap_or_default(),
            );
            let origin = self.origins.get(name).cloned();
            let origin = origin.unwrap_or_else(|| match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Origin::Flag,
                Some(ValueSource::EnvVariable) => {
                    let name = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                    Origin::Variable(name.unwrap_or_default())
                }
                _ => Origin::Default,
            });
            let value = matches.get_raw(id).and_then(|mut values| values.next_back());
            let value = value
                .map(|value| value.to_string_lossy().into_owned())
                .unwrap_or_default();
            let shown = if SECRETS.contains(&name) && !value.is_empty() {
                "(hidden)".to_owned()
            } else {
                value
            };
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let value = Value::String(shown);
            writeln!(text, "# {help}\n{name} = {value}  # {origin}\n").expect("a string takes everything");
        }
        text
    }
}

fn innermost<'a>(command: &'a Command, matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    match matches.subcommand() {
        Some((name, inner)) => match command.find_subcommand(name) {
            Some(command) => innermost(command, inner),
            None => (command, matches),
        },
        None => (command, matches),
    }
}

/// The options of a command: name and id.
fn options(command: &Command) -> impl Iterator<Item = (&str, &str)> {
    let arguments = command.get_arguments();
    arguments
        .filter_map(|argument| Some((argument.get_long()?, argument.get_id().as_str())))
        .filter(|(name, _)| *name != "help")
}

fn variable(option: &str) -> String {
    format!("{PREFIX}{}", option.replace('-', "_").to_uppercase())
}

/// A value as a flag would say it; lists are separated by commas.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Array(values) => {
            let texts: Option<Vec<String>> = values.iter().map(as_text).collect();
            Some(texts?.join(","))
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests;
