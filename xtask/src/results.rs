//! The published figures, made anew.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{emulate, shell};

mod beside;
mod browser;
mod reports;

/// Where the page ends that this task writes; what stands behind it is kept.
const END: &str = "<!-- the simulated part ends here -->\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Few seeds and small federations, into target/results, to see that all of it can be made; reports are opened in
    /// chromium too
    #[arg(long)]
    quick: bool,
    /// The original's recordings, for the table of its experiment; the table that stands is kept without them
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
    /// Only what needs real nodes: the reference's loads, simulated and emulated side by side (needs root)
    #[arg(long, conflicts_with_all = ["quick", "recordings"])]
    emulated: bool,
}

/// How much is simulated.
struct Effort {
    seeds: &'static str,
    /// Numbers of nodes, and of neighbours.
    scale: &'static [[&'static str; 2]],
    others: &'static [&'static str],
    /// With what the simulator is compiled: a few runs take less time than the compiler's best.
    profile: &'static str,
}

const WHOLE: Effort = Effort {
    seeds: "30",
    scale: &[["100,1000", "4,16,all"], ["10000", "all"]],
    others: &["surge", "bursts", "faults", "day"],
    profile: "release",
};
const QUICK: Effort = Effort {
    seeds: "2",
    scale: &[["100", "4,all"]],
    others: &["surge", "faults"],
    profile: "debug",
};

const REFERENCE: [&str; 4] = [
    "reference-50-0-0",
    "reference-50-10-0",
    "reference-50-30-0",
    "reference-50-50-50",
];

/// For how long each load is looked at in an emulation, and in a test of it.
const EMULATED_S: u32 = 30;
const EMULATED_TEST_S: u32 = 10;

/// Simulates everything that docs/results.md tells, and writes the page and its pictures; or emulates, and writes that part.
///
/// # Errors
///
/// When a simulation fails or a file cannot be written, or an emulation serves other rates than the simulator.
pub(crate) fn run(args: &Args) -> Result<()> {
    let effort = if args.quick { &QUICK } else { &WHOLE };
    let folder = shell::workspace().join(if args.quick { "target/results" } else { "docs" });
    let page = folder.join("results.md");
    let before = fs::read_to_string(&page).unwrap_or_default();
    let simulator = Simulator::build(effort)?;
    let (first, behind) = before.split_once(END).unwrap_or((&before, ""));
    let text = if args.emulated {
        shell::need_root("results --emulated")?;
        emulate::build()?;
        let table = beside::table(&simulator.program, &beside::LOADS, EMULATED_S)?;
        first.to_owned() + END + &filled(include_str!("results/emulated.md"), &[("emulated", table)])?
    } else {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        simulator.page(&folder, effort, args.recordings.as_deref(), &before)? + END + behind
    };
    fs::write(&page, text).with_context(|| format!("writing {}", page.display()))?;
    println!("results: {}", page.display());
    if args.quick {
        shell::run(shell::cargo().args(["build", "--package=dfaas-load"]))?;
        reports::make(&simulator.program, &folder)?;
    }
    Ok(())
}

/// The quick form, for tests.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn check() -> Result<()> {
    run(&Args {
        quick: true,
        recordings: None,
        emulated: false,
    })
}

/// Emulates one of the reference's loads, and compares it with the simulator.
///
/// # Errors
///
/// When they differ, or the emulation does not come up.
pub(crate) fn check_emulated() -> Result<()> {
    emulate::build()?;
    let simulator = Simulator::build(&QUICK)?;
    let table = beside::table(&simulator.program, &beside::LOADS[1..2], EMULATED_TEST_S)?;
    println!("{table}");
    Ok(())
}

/// The program of `dfaas-sim`.
struct Simulator {
    program: PathBuf,
}

impl Simulator {
    fn build(effort: &Effort) -> Result<Self> {
        let mut cargo = shell::cargo();
        cargo.args(["build", "--package=dfaas-sim"]);
        if effort.profile == "release" {
            cargo.arg("--release");
        }
        shell::run(&mut cargo)?;
        let program = shell::workspace().join("target").join(effort.profile);
        Ok(Self {
            program: program.join("dfaas-sim"),
        })
    }

    fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// The page of what is simulated; pictures go beside it.
    fn page(
        &self,
        folder: &Path,
        effort: &Effort,
        recordings: Option<&Path>,
        before: &str,
    ) -> Result<String> {
        let pictures = folder.join("results");
        println!("results: the reference's loads");
        let reference = self.table(&REFERENCE, effort, &pictures.join("reference"))?;
        println!("results: other loads");
        let others = self.table(effort.others, effort, &pictures.join("others"))?;
        println!("results: the herd");
        let mut herd = self.command();
        herd.args(["herd", "--seeds", effort.seeds, "--pictures"]);
        let herd = shell::output(herd.arg(&pictures))?;
        println!("results: scale");
        let scale = self.scale(effort)?;
        let experiment = match recordings {
            Some(recordings) => {
                println!("results: the original's experiment");
                let mut command = self.command();
                command.arg("experiment").arg("--recordings").arg(recordings);
                command.args(["--instances", effort.seeds, "--pictures"]);
                shell::output(command.arg(&pictures))?
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
        filled(include_str!("results/page.md"), &parts)
    }

    /// One table of all sizes.
    fn scale(&self, effort: &Effort) -> Result<String> {
        let mut table = String::new();
        for [nodes, neighbours] in effort.scale {
            let mut scale = self.command();
            scale.args(["scale", "--nodes", nodes, "--neighbours", neighbours]);
            let rows = shell::output(&mut scale)?;
            // The head and the line under it are the same in all.
            let heads = if table.is_empty() { 0 } else { 2 };
            table.extend(rows.lines().skip(heads).flat_map(|line| [line, "\n"]));
        }
        Ok(table)
    }

    fn table(&self, scenarios: &[&str], effort: &Effort, pictures: &Path) -> Result<String> {
        let folder = shell::workspace().join("dfaas-sim/scenarios");
        let file = |scenario: &&str| folder.join(scenario).with_extension("toml");
        let mut command = self.command();
        command
            .args(["sweep", "--seeds", effort.seeds, "--pictures"])
            .arg(pictures);
        shell::output(command.args(scenarios.iter().map(file)))
    }
}

/// A page with tables in their places.
fn filled(page: &str, tables: &[(&str, String)]) -> Result<String> {
    let mut page = page.to_owned();
    for (name, table) in tables {
        let [begin, end] = marks(name);
        ensure!(page.contains(&begin), "the page has no place for {name}");
        let table = table.trim_end();
        page = page.replace(&begin, &format!("{begin}\n\n{table}\n\n{end}"));
    }
    Ok(page)
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
