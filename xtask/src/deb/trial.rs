//! The package's life on a host: installed, examined, run, installed again, removed, purged.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{
    PROGRAMS, machine,
    package::{CONFFILES, Package},
    tree::Tree,
    units,
};
use crate::report::Report;

/// What the booted system does; see there.
const SCRIPT: &str = include_str!("trial.sh");
/// Where the package lies in the system.
const INSIDE: &str = "/opt/package.deb";
/// The operator's own lines.
const CONFIGURED: &str = "state-dir = \"/var/lib/dfaas/agent\"\ninterface = \"eth0\"\n";
/// The exposure by systemd's reckoning (0 is best, 10 worst) above which somebody has loosened a unit.
const EXPOSURE_MAX: [(&str, f64); 2] = [("dfaas-agent.service", 4.5), ("dfaas-provider.service", 5.0)];

/// Does all of it, each step in the system that the one before has left.
pub(super) fn run(report: &mut Report, package: &Package) {
    let mut tree = None;
    report.check("deb: a Debian", || {
        tree = Some(Tree::new()?);
        Ok(())
    });
    let Some(tree) = tree else {
        return;
    };
    report.check("deb: install", || install(&tree, &package.file));
    report.check("deb: nothing started", || nothing_is_enabled(&tree));
    report.check("deb: systemd-analyze verify", || {
        units::verify(tree.root(), &["--man=no"])
    });
    report.check("deb: systemd-analyze security", || exposure(&tree));
    report.check("deb: programs", || programs(&tree));
    report.check("deb: manual", || manual(&tree));
    report.check("deb: configure", || configure(&tree));
    report.check("deb: boot and serve", || {
        machine::boot(&tree, SCRIPT).map(|said| println!("{}", said.trim_end()))
    });
    report.check("deb: install again", || install_again(&tree));
    report.check("deb: remove", || remove(&tree));
    report.check("deb: purge", || purge(&tree));
}

fn install(tree: &Tree, file: &Path) -> Result<()> {
    fs::copy(file, tree.at(INSIDE)).with_context(|| format!("copying {}", file.display()))?;
    machine::run(tree, &["dpkg", "--install", INSIDE])?;
    Ok(())
}

/// No unit is wanted by a target, and the user that the agent becomes is there.
fn nothing_is_enabled(tree: &Tree) -> Result<()> {
    let wanted = tree.at("/etc/systemd/system/multi-user.target.wants");
    let units = fs::read_dir(&wanted).with_context(|| format!("reading {}", wanted.display()))?;
    for unit in units.flatten() {
        let name = unit.file_name().to_string_lossy().into_owned();
        ensure!(!name.contains("dfaas"), "{name} was enabled");
    }
    let users = machine::run(tree, &["getent", "passwd", "dfaas"])?;
    ensure!(users.contains("nologin"), "{users}");
    Ok(())
}

fn exposure(tree: &Tree) -> Result<()> {
    for (unit, most) in EXPOSURE_MAX {
        let exposure = units::exposure(tree.root(), unit)?;
        println!("deb: {unit}: exposure {exposure}");
        ensure!(exposure <= most, "{unit} is exposed by {exposure}, over {most}");
    }
    Ok(())
}

fn programs(tree: &Tree) -> Result<()> {
    for program in PROGRAMS {
        let said = machine::run(tree, &[program, "--version"])?;
        ensure!(
            said.contains(env!("CARGO_PKG_VERSION")),
            "{program} --version: {said}"
        );
    }
    let address = [
        "--interface",
        "lo",
        "--node-ip",
        "192.0.2.1",
        "--node-ipv6",
        "off",
    ];
    let show = [&["dfaas-agent", "config", "show"], &address[..]].concat();
    let said = machine::run(tree, &show)?;
    ensure!(
        said.contains("/etc/dfaas/agent.toml"),
        "the packaged file is not read:\n{said}"
    );
    Ok(())
}

fn manual(tree: &Tree) -> Result<()> {
    for page in ["dfaas-agent.1", "dfaas-agent-run.1", "dfaas-provider.1"] {
        let file = format!("/usr/share/man/man1/{page}.gz");
        let text = machine::run(tree, &["zcat", &file])?;
        ensure!(text.contains(".SH NAME"), "{page} is no man page");
    }
    for program in PROGRAMS {
        let file = format!("/usr/share/bash-completion/completions/{program}");
        let told = machine::run(
            tree,
            &["bash", "-c", &format!("source {file} && complete -p {program}")],
        )?;
        ensure!(told.contains(program), "{file} completes nothing");
    }
    Ok(())
}

fn configure(tree: &Tree) -> Result<()> {
    let [agent, _] = CONFFILES;
    fs::write(tree.at(agent), CONFIGURED).with_context(|| format!("writing {agent}"))
}

fn install_again(tree: &Tree) -> Result<()> {
    machine::run(
        tree,
        &["dpkg", "--force-confdef", "--force-confold", "--install", INSIDE],
    )?;
    check_configuration(tree)
}

/// What the operator wrote is still there, and so is the node's identity.
fn check_configuration(tree: &Tree) -> Result<()> {
    let [agent, _] = CONFFILES;
    let text = fs::read_to_string(tree.at(agent)).with_context(|| format!("reading {agent}"))?;
    ensure!(text == CONFIGURED, "{agent} was changed to:\n{text}");
    let identity = "/var/lib/dfaas/agent/identity.pem";
    ensure!(tree.at(identity).is_file(), "{identity} is gone");
    Ok(())
}

fn remove(tree: &Tree) -> Result<()> {
    machine::run(tree, &["dpkg", "--remove", "dfaas"])?;
    for program in PROGRAMS {
        ensure!(
            !tree.at("/usr/bin").join(program).exists(),
            "{program} is still there"
        );
    }
    check_configuration(tree)
}

fn purge(tree: &Tree) -> Result<()> {
    machine::run(tree, &["dpkg", "--purge", "dfaas"])?;
    let traces = tree.traces_of("dfaas")?;
    ensure!(traces.is_empty(), "left behind:\n{}", traces.join("\n"));
    Ok(())
}
