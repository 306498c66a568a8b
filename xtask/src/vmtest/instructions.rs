//! How many instructions the verifier of each kernel processed for each program, and how many it may.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// `kernel program instructions` a line; `#` begins a comment.
const TABLE: &str = include_str!("instructions.txt");
/// How much more than in the table is a finding, in percent. Compilers differ by less.
const RISE_MAX_PERCENT: u64 = 10;

/// Compares what a line tells of a program with the table. Most lines tell nothing.
///
/// # Errors
///
/// What is wrong, where the program is not in the table or the number is too large.
pub(crate) fn check(kernel: &str, line: &str) -> Result<(), String> {
    let Some((program, count)) = read(line) else {
        return Ok(());
    };
    let table = parse(TABLE).map_err(|error| format!("{error:#}"))?;
    let Some(most) = table.get(&(kernel.to_owned(), program.to_owned())) else {
        return Err(format!(
            "instructions.txt has no {program} of kernel {kernel}: {count}"
        ));
    };
    if count > most + most * RISE_MAX_PERCENT / 100 {
        return Err(format!(
            "{program}: {count} instructions, {most} in instructions.txt"
        ));
    }
    Ok(())
}

/// The program and the number in `verifier: ingress processed 7 instructions`.
fn read(line: &str) -> Option<(&str, u64)> {
    let (program, rest) = line.strip_prefix("verifier: ")?.split_once(" processed ")?;
    Some((program, rest.strip_suffix(" instructions")?.parse().ok()?))
}

fn parse(text: &str) -> Result<BTreeMap<(String, String), u64>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmtest::kernel;

    #[test]
    fn the_committed_table_has_every_kernel() {
        let table = parse(TABLE).unwrap();
        for kernel in kernel::ALL {
            let programs = ["ingress", "egress", "guard", "listener"];
            for program in programs
                .iter()
                .flat_map(|name| [(*name).to_owned(), format!("{name}:log")])
            {
                let most = table[&(kernel.name.to_owned(), program.clone())];
                let line = |count: u64| format!("verifier: {program} processed {count} instructions");
                assert_eq!(check(kernel.name, &line(most + most / 10)), Ok(()));
                assert!(check(kernel.name, &line(most + most / 10 + 1)).is_err());
            }
        }
    }

    #[test]
    fn a_broken_table_is_told() {
        assert!(parse("5.10 ingress many").is_err());
        assert!(parse("# comment\n\n").unwrap().is_empty());
    }

    #[test]
    fn programs_must_be_in_the_table_and_other_lines_need_not() {
        assert!(check("5.10", "verifier: new processed 7 instructions").is_err());
        assert!(check("4.19", "verifier: ingress processed 7 instructions").is_err());
        for line in [
            "",
            "test a ... ok",
            "verifier: ingress",
            "verifier: a processed no instructions",
        ] {
            assert_eq!(check("5.10", line), Ok(()));
        }
    }
}
