//! The test programs of the workspace.
//!
//! Cargo builds all of them at once, because every choice of crates has features of its own, and libp2p would be built
//! for each.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{build, shell};

/// The crate whose tests need the kernel and namespaces.
const TESTBED: &str = "dfaas-testbed";
/// The crate that measures, in namespaces too.
const BENCH: &str = "dfaas-bench";

/// A test program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Program {
    /// Its crate and its name there, as in `dfaas-agent cli`.
    pub(crate) name: String,
    /// What its tests need.
    pub(crate) needs: Needs,
    pub(crate) file: PathBuf,
    /// Where its crate is.
    pub(crate) folder: PathBuf,
}

/// What the tests of a program need.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Needs {
    /// No privilege.
    Nothing,
    /// A kernel to load eBPF programs into.
    Kernel,
    /// Network namespaces, and time for themselves.
    Namespaces,
}

/// The federations that are asked everything once more, with HAProxy as the data plane.
const FEDERATION: &str = "dfaas-testbed federation";
/// What of the federations' tests concerns the kernel alone, and why.
const KERNEL_ONLY: [(&str, &str); 21] = [
    (
        "attack::flood",
        "half-open connections in OPENING; HAProxy's are the host's own",
    ),
    ("attack::full", "CLIENTS filled; HAProxy has no such table"),
    (
        "attack::guard",
        "a program of the kernel's in front of the others",
    ),
    ("attack::malformed", "the programs' counters of malformed packets"),
    (
        "attack::slow",
        "sweeps of maps, and when the kernel hands over; HAProxy has time-outs of its own",
    ),
    ("attack::limits::a_refusal", "the time that the programs run"),
    ("checksums::", "checksums that the programs make"),
    (
        "faults::a_kept_connection",
        "requests on kept connections that the programs take back from a silent peer",
    ),
    (
        "faults::what_a_silent_peer",
        "requests on kept connections that the programs leave with a silent peer",
    ),
    ("ipv6::haproxy_leads", "what the kernel hands over to HAProxy"),
    ("leftovers::", "entries of maps"),
    (
        "lossy::a_kept_connection",
        "servers that the programs keep for later",
    ),
    ("paths::", "messages of routers that the programs translate"),
    (
        "program_log::",
        "what the programs log; HAProxy has a log of its own",
    ),
    ("proxy::", "what the kernel hands over to HAProxy"),
    (
        "reconfiguration::",
        "refusals of a peer that is behind with its policy, which only the kernel takes back",
    ),
    ("silence::", "sweeps of maps; HAProxy has time-outs of its own"),
    ("tcp::blind", "sequence numbers that the programs check"),
    (
        "unjudged::",
        "packets that the programs do not read, and the socket look-up",
    ),
    ("wide::", "the overlay, which is the same whoever steers"),
    ("wrong::", "command lines, which are the same whoever steers"),
];
/// What is run on HAProxy wherever federations are tested: some of each kind, in half a minute. The ring of its own runs
/// all, also `share`, which a loaded machine fails now and then.
const HAPROXY_PART: [&str; 5] = [
    "answers::",
    "ipv6::",
    "platform::",
    "smuggling::the_data_plane_lets",
    "trust::a_peer_that_is_struck_off",
];

/// How much is run with HAProxy as the data plane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extent {
    Part,
    All,
}

/// What cargo built.
pub(crate) struct Suite {
    pub(crate) programs: Vec<Program>,
    /// Whether nothing failed to compile.
    pub(crate) complete: bool,
}

impl Suite {
    /// Builds the binaries and all tests, going on after errors.
    ///
    /// # Errors
    ///
    /// When cargo cannot be run.
    pub(crate) fn build() -> Result<Self> {
        let mut cargo = build::host_crates("build");
        cargo.args([
            "--all-targets",
            "--keep-going",
            "--message-format=json-render-diagnostics",
        ]);
        let mut programs = Vec::new();
        let complete = each_line(&mut cargo, |line| programs.extend(Program::read(line)))?;
        programs.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { programs, complete })
    }
}

impl Program {
    /// The test program that a message of cargo tells of.
    fn read(message: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(message).ok()?;
        if message["profile"]["test"] != true {
            return None;
        }
        let file = PathBuf::from(message["executable"].as_str()?);
        let folder = PathBuf::from(message["manifest_path"].as_str()?)
            .parent()?
            .to_owned();
        let target = message["target"]["name"].as_str()?;
        let kind = message["target"]["kind"][0].as_str()?;
        let crate_name = folder.file_name()?.to_str()?;
        let needs = match (crate_name, kind) {
            (TESTBED, "test") if target.starts_with("kernel") => Needs::Kernel,
            (TESTBED | BENCH, "test") => Needs::Namespaces,
            _ => Needs::Nothing,
        };
        let name = match kind {
            "test" => format!("{crate_name} {target}"),
            _ => format!("{crate_name} ({kind})"),
        };
        Some(Self {
            name,
            needs,
            file,
            folder,
        })
    }

    /// How to run it once more, with HAProxy alone as the data plane; nothing if that makes no difference.
    pub(crate) fn command_on_haproxy(&self, extent: Extent) -> Option<Command> {
        let mut command = (self.name == FEDERATION).then(|| self.command())?;
        command.env(dfaas_testbed::DATA_PLANE, "haproxy");
        for (name, _reason) in KERNEL_ONLY {
            command.args(["--skip", name]);
        }
        match extent {
            Extent::Part => command.args(HAPROXY_PART),
            Extent::All => &mut command,
        };
        Some(command)
    }

    /// How to run it. Tests that measure time run one after another.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder);
        if self.needs == Needs::Namespaces {
            command.arg("--test-threads=1");
        }
        command
    }
}

/// Runs a command, shows each line that it writes to `see`, and returns whether it ended well.
///
/// # Errors
///
/// When it cannot be run.
pub(crate) fn each_line(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let context = format!("running {}", shell::text(command));
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| context.clone())?;
    let stdout = child.stdout.take().context("a pipe was asked for")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| context.clone())?;
        see(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait().context(context)?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_what_they_need() {
        check("dfaas-agent", "test", "cli", ("dfaas-agent cli", Needs::Nothing));
        check(
            "dfaas-agent",
            "bin",
            "dfaas-agent",
            ("dfaas-agent (bin)", Needs::Nothing),
        );
        check(
            "dfaas-testbed",
            "lib",
            "dfaas_testbed",
            ("dfaas-testbed (lib)", Needs::Nothing),
        );
        check(
            "dfaas-testbed",
            "test",
            "kernel",
            ("dfaas-testbed kernel", Needs::Kernel),
        );
        check(
            "dfaas-testbed",
            "test",
            "faults",
            ("dfaas-testbed faults", Needs::Namespaces),
        );
    }

    #[test]
    fn other_messages_are_passed_over() {
        let built = message("a", "bin", "a").replace("true", "false");
        for message in [
            built.as_str(),
            "{\"reason\":\"build-finished\"}",
            "warning: text",
            "",
        ] {
            assert_eq!(Program::read(message), None, "{message}");
        }
    }

    #[test]
    fn lines_are_seen_and_the_end_too() {
        let mut seen = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; printf 'two\\377'; exit 3"]);
        let well = each_line(&mut command, |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(
            (seen, well),
            (vec!["one".to_owned(), "two\u{fffd}".to_owned()], false)
        );
    }

    #[track_caller]
    fn check(folder: &str, kind: &str, target: &str, want: (&str, Needs)) {
        let program = Program::read(&message(folder, kind, target)).unwrap();
        assert_eq!((program.name.as_str(), program.needs), want);
        assert_eq!(program.file, PathBuf::from("/t/x-1"));
    }

    fn message(folder: &str, kind: &str, target: &str) -> String {
        format!(
            r#"{{"manifest_path":"/t/{folder}/Cargo.toml","target":{{"kind":["{kind}"],"name":"{target}"}},"profile":{{"test":true}},"executable":"/t/x-1"}}"#
        )
    }
}
