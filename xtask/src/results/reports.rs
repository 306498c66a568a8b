//! The reports that programs of ours write, made and looked at by a browser.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::browser;
use crate::shell;

/// A screen that shows a report's table and first pictures.
const SCREEN: (u32, u32) = (1_400, 2_600);

/// Makes a report of each program, and opens them in the browser if there is one.
///
/// # Errors
///
/// When one cannot be made, or the browser complains.
pub(super) fn make(simulator: &Path, folder: &Path) -> Result<()> {
    let pages = [simulation(simulator, folder)?, load(folder)?];
    let Some(browser) = browser::find() else {
        println!("results: no chromium here, so reports were not opened; `cargo xtask setup` installs it");
        return Ok(());
    };
    browser::sees_errors(&browser, folder)?;
    for page in pages {
        let picture = page.with_extension("png");
        browser::open(&browser, &page, &picture, SCREEN)?;
        println!("results: {} opened, see {}", page.display(), picture.display());
    }
    Ok(())
}

fn simulation(simulator: &Path, folder: &Path) -> Result<std::path::PathBuf> {
    let scenario = shell::workspace().join("dfaas-sim/scenarios/reference-50-10-0.toml");
    let page = folder.join("simulation.html");
    let mut report = Command::new(simulator);
    report.arg("report").arg("--out").arg(&page);
    for strategy in ["water-filling", "recalc"] {
        let out = folder.join(strategy);
        let mut run = Command::new(simulator);
        run.arg("run").arg(&scenario).args(["--strategy", strategy]);
        shell::output(run.arg("--out").arg(&out))?;
        report.arg(out.join("results.json"));
    }
    shell::output(&mut report)?;
    Ok(page)
}

/// Of results as hey writes them: a request each tenth of a second, of which some are refused.
fn load(folder: &Path) -> Result<std::path::PathBuf> {
    let mut results =
        "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset\n"
            .to_owned();
    for request in 0..300_u32 {
        let (code, took_ms) = if request % 5 == 4 {
            (429, 1)
        } else {
            (200, 20 + request % 17)
        };
        let (took, offset) = (f64::from(took_ms) / 1e3, f64::from(request) / 10.0);
        results += &format!("{took:.4},0.0000,0.0000,0.0000,{took:.4},0.0000,{code},{offset:.4}\n");
    }
    let (file, page) = (folder.join("hey.csv"), folder.join("load.html"));
    fs::write(&file, results).with_context(|| format!("writing {}", file.display()))?;
    let mut report = Command::new(shell::workspace().join("target/debug/dfaas-load"));
    shell::output(report.arg("report").arg(&file).arg("--html").arg(&page))?;
    Ok(page)
}
