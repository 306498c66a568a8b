//! The published figures, made anew.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// Where the page ends that this task writes; what stands behind it is kept.
const END: &str = "<!-- the simulated part ends here -->\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Few seeds and small federations, into target/results, to see that all of it can be made
    #[arg(long)]
    quick: bool,
    /// The original's recordings, for the table of its experiment; the table that stands is kept without them
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
}

/// How much is simulated.
struct Effort {
    seeds: &'static str,
    scale: &'static str,
}

const WHOLE: Effort = Effort {
    seeds: "30",
    scale: "100,1000,10000",
};
const QUICK: Effort = Effort {
    seeds: "2",
    scale: "100",
};

const REFERENCE: [&str; 4] = [
    "reference-50-0-0",
    "reference-50-10-0",
    "reference-50-30-0",
    "reference-50-50-50",
];
const OTHERS: [&str; 4] = ["surge", "bursts", "faults", "day"];

/// Simulates everything that docs/results.md tells, and writes the page and its pictures.
///
/// # Errors
///
/// When a simulation fails or a file cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = shell::workspace();
    let folder = workspace.join(if args.quick { "target/results" } else { "docs" });
    let effort = if args.quick { &QUICK } else { &WHOLE };
    shell::run(shell::cargo().args(["build", "--release", "--package", "dfaas-sim"]))?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let page = folder.join("results.md");
    let before = fs::read_to_string(&page).unwrap_or_default();
    let text = simulated(&folder, effort, args.recordings.as_deref(), &before)?;
    let behind = before.split_once(END).map_or("", |(_, behind)| behind);
    fs::write(&page, text + END + behind).with_context(|| format!("writing {}", page.display()))?;
    println!("results: {}", page.display());
    Ok(())
}

fn simulated(folder: &Path, effort: &Effort, recordings: Option<&Path>, before: &str) -> Result<String> {
    let pictures = folder.join("results");
    let seeds = ["--seeds", effort.seeds];
    println!("results: the reference's loads");
    let reference = tables(&REFERENCE, &seeds, "reference", &pictures)?;
    println!("results: other loads");
    let others = tables(&OTHERS, &seeds, "others", &pictures)?;
    println!("results: the herd");
    let herd = sim(Command::new(program())
        .args(["herd", "--pictures"])
        .arg(&pictures)
        .args(seeds))?;
    println!("results: scale");
    let scale = sim(Command::new(program()).args(["scale", "--nodes", effort.scale]))?;
    let experiment = match recordings {
        Some(recordings) => {
            println!("results: the original's experiment");
            let mut command = Command::new(program());
            command.arg("experiment").arg("--recordings").arg(recordings);
            command
                .args(["--instances", effort.seeds, "--pictures"])
                .arg(&pictures);
            sim(&mut command)?
        }
        None => kept(before, "experiment"),
    };
    let parts = [
        ("reference", reference),
        ("others", others),
        ("herd", herd),
        ("experiment", experiment),
        ("scale", scale),
    ];
    let mut page = include_str!("results/page.md").to_owned();
    for (name, table) in parts {
        let [begin, end] = marks(name);
        ensure!(page.contains(&begin), "the page has no place for {name}");
        page = page.replace(
            &begin,
            &format!("{begin}\n\n{}\n{end}", table.trim_end().to_owned() + "\n"),
        );
    }
    Ok(page)
}

fn tables(scenarios: &[&str], seeds: &[&str], name: &str, pictures: &Path) -> Result<String> {
    let folder = shell::workspace().join("dfaas-sim/scenarios");
    let mut command = Command::new(program());
    command
        .arg("sweep")
        .args(seeds)
        .arg("--pictures")
        .arg(pictures.join(name));
    command.args(
        scenarios
            .iter()
            .map(|scenario| folder.join(scenario).with_extension("toml")),
    );
    sim(&mut command)
}

fn sim(command: &mut Command) -> Result<String> {
    shell::output(command)
}

fn program() -> PathBuf {
    shell::workspace().join("target/release/dfaas-sim")
}

fn marks(name: &str) -> [String; 2] {
    [format!("<!-- {name} -->"), format!("<!-- end of {name} -->")]
}

/// What stands on the page already.
fn kept(page: &str, name: &str) -> String {
    let [begin, end] = marks(name);
    let table = page
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end));
    table.map_or_else(
        || "The table is made with `cargo xtask results --recordings FOLDER`.".to_owned(),
        |(table, _)| table.trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_cannot_be_made_is_kept() {
        let page = "a\n<!-- experiment -->\n\n| n |\n\n<!-- end of experiment -->\nb";
        assert_eq!(kept(page, "experiment"), "| n |");
        assert!(kept("", "experiment").contains("--recordings"));
    }

    #[test]
    fn the_page_has_a_place_for_each_table() {
        for name in ["reference", "others", "herd", "experiment", "scale"] {
            assert!(
                include_str!("results/page.md").contains(&marks(name)[0]),
                "{name}"
            );
        }
    }
}
