//! The commands of the README, run as a reader would.
//!
//! A block of shell commands after a line `<!-- run: demo -->` is run while the federation of the demo is up.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{demo, setup, shell};

const FILE: &str = "README.md";
const MARK: &str = "<!-- run: demo -->";
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
    let path = shell::workspace().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let blocks = blocks(&text)?;
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
fn blocks(text: &str) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line.trim() == MARK) {
        let fence = lines.by_ref().find(|line| !line.trim().is_empty());
        ensure!(
            fence == Some("```sh"),
            "{FILE}: no ```sh after {MARK} number {}",
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
        assert_eq!(blocks(text).unwrap(), ["one\ntwo\n", "three\n"]);
        assert!(blocks("<!-- run: demo -->\ntext\n").is_err());
    }
}
