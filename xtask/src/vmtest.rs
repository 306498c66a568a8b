//! The eBPF programs before the verifiers of older kernels, booted in software emulation.

mod kernel;
mod machine;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};

use self::{kernel::Kernel, machine::Machine};
use crate::{ebpf, packages, shell};

/// Instructions that a verifier may process, by kernel and program, one line each.
const TABLE: &str = include_str!("vmtest/instructions.txt");
/// How much more than in the table is a finding, in percent. Compilers differ by less.
const RISE_MAX_PERCENT: u64 = 10;
/// Programs that this task needs, and their packages.
const TOOLS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("bpftool", "bpftool"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this kernel; may be given more than once
    #[arg(long, value_parser = kernel::names())]
    kernel: Vec<String>,
}

/// Loads the programs into each kernel and compares what its verifier had to do with the committed table.
///
/// # Errors
///
/// When a kernel cannot be had, refuses a program, or works harder for one than the table allows.
pub(crate) fn run(args: &Args) -> Result<()> {
    shell::need_root("vmtest")?;
    install_tools()?;
    let object = ebpf::build()?;
    let allowed = parse_table(TABLE)?;
    let mut findings = Vec::new();
    for kernel in kernel::ALL
        .iter()
        .filter(|kernel| args.kernel.is_empty() || args.kernel.iter().any(|name| name == kernel.name))
    {
        findings.extend(check(kernel, &object, &allowed).with_context(|| format!("kernel {}", kernel.name))?);
    }
    if !findings.is_empty() {
        bail!("{}", findings.join("\n"));
    }
    Ok(())
}

fn check(kernel: &Kernel, object: &Path, allowed: &BTreeMap<(String, String), u64>) -> Result<Vec<String>> {
    let image = kernel.fetch()?;
    let log = Machine::new(kernel.name)?.load(&image, object)?;
    let processed = instructions(&log);
    if processed.is_empty() {
        let shown = kernel.folder().join("boot.log");
        fs::write(&shown, &log).with_context(|| format!("writing {}", shown.display()))?;
        bail!("the machine said nothing of programs; see {}", shown.display());
    }
    let mut findings = Vec::new();
    for (program, count) in processed {
        println!(
            "vmtest: kernel {} processed {count} instructions of {program}",
            kernel.name
        );
        let most = allowed
            .get(&(kernel.name.to_owned(), program.clone()))
            .with_context(|| format!("{program} is not in xtask/src/vmtest/instructions.txt"))?;
        if count > most + most * RISE_MAX_PERCENT / 100 {
            findings.push(format!(
                "kernel {}: {program}: {count} instructions, {most} in the table",
                kernel.name
            ));
        }
    }
    if log.contains(machine::REFUSED) {
        findings.push(format!(
            "kernel {}: a program was refused:\n{}",
            kernel.name,
            tail(&log)
        ));
    }
    Ok(findings)
}

fn install_tools() -> Result<()> {
    let missing: Vec<String> = TOOLS
        .iter()
        .filter(|(program, _)| shell::find(program).is_none())
        .map(|&(_, package)| package.to_owned())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    packages::update();
    packages::install(&missing)
}

/// `kernel program instructions` a line; `#` begins a comment.
fn parse_table(text: &str) -> Result<BTreeMap<(String, String), u64>> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (kernel, program) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(((kernel, program), words.next()?.parse().ok()?))
    };
    lines
        .map(|line| entry(line).with_context(|| format!("instructions.txt: {line:?} is no entry")))
        .collect()
}

/// What the verifier says it processed, by program, from the log of `bpftool -d prog loadall`.
fn instructions(log: &str) -> BTreeMap<String, u64> {
    let mut program = None;
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("prog '") {
            program = rest.split('\'').next();
        }
        let count = line
            .trim_start()
            .strip_prefix("processed ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        if let (Some(program), Some(count)) = (program, count) {
            counts.insert(program.to_owned(), count);
        }
    }
    counts
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_has_every_kernel() {
        let table = parse_table(TABLE).unwrap();
        for kernel in kernel::ALL {
            for program in ["ingress", "egress", "listener"] {
                assert!(
                    table.contains_key(&(kernel.name.to_owned(), program.to_owned())),
                    "{program}"
                );
            }
        }
    }

    #[test]
    fn a_broken_table_is_told() {
        assert!(parse_table("5.10 ingress many").is_err());
        assert!(parse_table("# comment\n\n").unwrap().is_empty());
    }

    #[test]
    fn counts_belong_to_the_program_named_before() {
        let log = "libbpf: prog 'egress': -- BEGIN PROG LOAD LOG --\n0: (bf) r6 = r1\nprocessed 7 insns (limit 1)\n\
                   libbpf: prog 'ingress': -- BEGIN PROG LOAD LOG --\nprocessed 9 insns (limit 1)\r\n";
        let want = [("egress".to_owned(), 7), ("ingress".to_owned(), 9)];
        assert_eq!(instructions(log), want.into());
        assert!(instructions("processed 7 insns").is_empty());
    }
}
