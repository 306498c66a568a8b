//! Three nodes in containers, as the README has them: built, started, asked, and taken away again.
//!
//! The engine runs in namespaces of its own for networking, mounts and processes, which end with this process however it
//! ends. So its bridges, firewall rules, sysctls and containers never reach the host.

mod base;
mod checks;
mod engine;
mod faults;
mod files;
mod images;
mod leftovers;
mod userns;

use std::process::ExitCode;

use anyhow::{Result, ensure};

pub(crate) use self::files::check as check_files;
use self::{
    engine::{Engine, Users},
    leftovers::Host,
};
use crate::{ebpf, report::Report, setup, shell, suite::Suite};

/// Programs that only this task needs, and the packages that have them.
const TOOLS: &[(&str, &[&str])] = &[
    ("dockerd", &["docker.io"]),
    ("docker", &["docker-cli", "docker.io"]),
    ("docker-compose", &["docker-compose"]),
    ("debootstrap", &["debootstrap"]),
    ("strip", &["binutils"]),
    ("tar", &["tar"]),
];

/// Something that is done with an engine.
type Step = fn(&Engine) -> Result<()>;

/// What is done with an engine, in this order.
const STEPS: &[(&str, Step)] = &[
    ("docker: images", images::build_node),
    ("docker: no engine", faults::no_engine),
    ("docker: engine too old", faults::old_engine),
    ("docker: port taken", faults::taken_port),
    ("docker: README", checks::readme),
    ("docker: all answer", checks::all_answer),
    ("docker: functions' rights", checks::functions_have_no_rights),
    ("docker: load", checks::load),
    ("docker: malicious node", checks::malicious),
    ("docker: stop", checks::stop),
    ("docker: identity lasts", checks::identity_lasts),
    ("docker: down", checks::down),
    ("docker: sidecar", checks::sidecar),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build the programs as the builder's image does, with optimizations: takes minutes
    #[arg(long)]
    release: bool,
}

/// Does all that there is to do with containers.
///
/// # Errors
///
/// When this process is not root or something does not compile. What fails later is printed and makes the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    shell::need_root("docker-test")?;
    setup::tools()?;
    ebpf::build()?;
    ensure!(Suite::build()?.complete, "something does not compile; see above");
    let mut report = Report::default();
    test(&mut report, args.release);
    println!("{report}");
    Ok(report.exit_code())
}

/// The same with programs that were built before.
pub(crate) fn ring(report: &mut Report) {
    test(report, false);
}

fn test(report: &mut Report, is_release: bool) {
    let mut engine = None;
    let mut before = None;
    report.check("docker: files", || {
        setup::install(TOOLS)?;
        files::check()
    });
    report.check("docker: programs", || images::programs(is_release));
    report.check("docker: base", base::make);
    report.check("docker: engine", || {
        before = Some(Host::look()?);
        engine = Some(Engine::start(Users::Host)?);
        Ok(())
    });
    let (Some(engine), Some(before)) = (engine, before) else {
        return;
    };
    println!("docker: {engine}");
    for (name, step) in STEPS {
        report.check(name, || {
            step(&engine).inspect_err(|_| println!("{}", engine.logs()))
        });
    }
    report.check("docker: end", || engine.end());
    report.check("docker: user namespaces", userns::test);
    report.check("docker: nothing left", || before.compare(&Host::look()?));
}
