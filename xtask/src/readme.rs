//! The commands of the README, run as a reader would.
//!
//! A block of shell commands after a line `<!-- run: demo -->` is run while the federation of the demo is up. One after
//! `<!-- run: docker -->` is run by `cargo xtask docker-test`.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{demo, setup, shell};

const FILE: &str = "README.md";
const DEMO: &str = "<!-- run: demo -->";
const CONTAINERS: &str = "<!-- run: docker -->";
/// How long a block may take, in seconds.
const TIMEOUT: &str = "60";

/// Runs the marked commands.
///
/// # Errors
///
/// When one fails.
pub(crate) fn run() -> Result<()> {
    shell::need_root("readme")?;
    setup::tools()?;
    demo::build_programs()?;
    println!("{} blocks of {FILE} work", check()?);
    Ok(())
}

/// Runs the marked commands with programs that were built before, and returns how many blocks there are.
///
/// # Errors
///
/// When one fails.
pub(crate) fn check() -> Result<usize> {
    let blocks = marked(DEMO)?;
    if blocks.is_empty() {
        return Ok(0);
    }
    let federation = demo::start("water-filling", "kernel")?;
    let relay = demo::relay(&federation).context("the README's commands need the demo's ports")?;
    for block in &blocks {
        run_block(block)?;
    }
    drop(relay);
    federation.stop()?;
    Ok(blocks.len())
}

/// The commands that are run with an engine for containers.
///
/// # Errors
///
/// When there are none.
pub(crate) fn of_containers() -> Result<String> {
    let blocks = marked(CONTAINERS)?;
    ensure!(!blocks.is_empty(), "{FILE} has no {CONTAINERS}");
    Ok(blocks.concat())
}

fn marked(mark: &str) -> Result<Vec<String>> {
    let path = shell::workspace().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    blocks(&text, mark)
}

fn run_block(block: &str) -> Result<()> {
    // Root needs no sudo, and may not have it.
    let script = format!("sudo() {{ \"$@\"; }}\n{block}");
    let mut command = Command::new("timeout");
    command.args([TIMEOUT, "bash", "-eu", "-c", &script]);
    let output = command
        .current_dir(shell::workspace())
        .output()
        .context("starting bash")?;
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    ensure!(
        output.status.success(),
        "{FILE}: {}:\n{block}{stdout}{stderr}",
        output.status
    );
    Ok(())
}

/// The marked blocks of shell commands.
fn blocks(text: &str, mark: &str) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line.trim() == mark) {
        let fence = lines.by_ref().find(|line| !line.trim().is_empty());
        ensure!(
            fence == Some("```sh"),
            "{FILE}: no ```sh after {mark} number {}",
            blocks.len() + 1
        );
        let block = lines.by_ref().take_while(|line| *line != "```");
        blocks.push(block.fold(String::new(), |block, line| block + line + "\n"));
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_blocks_are_run() {
        let text = "```sh\nno\n```\n<!-- run: demo -->\n```sh\none\ntwo\n```\ntext\n<!-- run: demo -->\n\n```sh\nthree\n```\n";
        assert_eq!(blocks(text, DEMO).unwrap(), ["one\ntwo\n", "three\n"]);
        assert_eq!(blocks(text, CONTAINERS).unwrap(), [""; 0]);
        assert!(blocks("<!-- run: demo -->\ntext\n", DEMO).is_err());
    }
}
