//! Everything that can be checked, in rings from the quickest to the nearest to life.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::{
    build, conformance, deb, docker, ebpf, readme,
    report::Report,
    results, setup, shell,
    suite::{Extent, Needs, Program, Suite},
    tidy, vmtest,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only this ring
    #[arg(long, value_enum)]
    ring: Option<Ring>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Ring {
    /// Format, lints, rules, and tests without privileges
    Host,
    /// The eBPF programs on packets made by hand
    Kernel,
    /// Federations in network namespaces, and the commands of the README
    Net,
    /// All federations with HAProxy as the data plane; the ring before has a part of them
    Haproxy,
    /// Three nodes in containers, as the README has them
    Docker,
    /// The same programs and federations on older kernels in software emulation, over good and bad links
    Vm,
}

/// Runs the rings, each whatever came of those before it.
///
/// # Errors
///
/// When this process is not root. What fails later is printed and makes the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    shell::need_root("test")?;
    let wanted = |ring| args.ring.is_none_or(|only| only == ring);
    let mut report = Report::default();
    report.check("setup", || {
        setup::run()?;
        setup::lints()
    });
    report.check("build-ebpf", ebpf::run);
    if wanted(Ring::Host) {
        check_sources(&mut report);
    }
    let programs = build(&mut report);
    for ring in Ring::ALL {
        // What takes long runs only for who asks for it.
        if [Ring::Haproxy, Ring::Docker].contains(&ring) && args.ring.is_none() {
            continue;
        }
        if ring == Ring::Vm && args.ring.is_none() {
            vmtest::short(&mut report, &programs);
        } else if wanted(ring) {
            ring.run(&mut report, &programs);
        }
    }
    println!("{report}");
    Ok(report.exit_code())
}

impl Ring {
    const ALL: [Self; 6] = [
        Self::Host,
        Self::Kernel,
        Self::Net,
        Self::Haproxy,
        Self::Docker,
        Self::Vm,
    ];

    fn run(self, report: &mut Report, programs: &[Program]) {
        match self {
            Self::Host => {
                run_all(report, programs, Needs::Nothing);
                report.check("conformance", conformance::check);
                report.check("units of systemd", deb::check_units);
                report.check("results", results::check);
                report.tests("examples in docs", build::host_crates("test").arg("--doc"));
            }
            Self::Kernel => run_all(report, programs, Needs::Kernel),
            Self::Net => {
                run_all(report, programs, Needs::Namespaces);
                run_on_haproxy(report, programs, Extent::Part);
                report.check("simulated beside emulated", results::check_emulated);
                report.check("readme", || {
                    readme::check().map(|blocks| println!("{blocks} blocks of the README work"))
                });
            }
            Self::Haproxy => run_on_haproxy(report, programs, Extent::All),
            Self::Docker => docker::ring(report),
            Self::Vm => vmtest::ring(report, programs),
        }
    }
}

fn run_all(report: &mut Report, programs: &[Program], needs: Needs) {
    for program in programs.iter().filter(|program| program.needs == needs) {
        report.tests(&program.name, &mut program.command());
    }
}

fn run_on_haproxy(report: &mut Report, programs: &[Program], extent: Extent) {
    for program in programs {
        if let Some(mut command) = program.command_on_haproxy(extent) {
            report.tests(&format!("{}, on HAProxy", program.name), &mut command);
        }
    }
}

fn check_sources(report: &mut Report) {
    report.check("format", || {
        shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
    });
    report.check("clippy", || {
        let mut clippy = build::host_crates("clippy");
        shell::run(clippy.args(["--quiet", "--all-targets", "--", "--deny", "warnings"]))
    });
    report.check("tidy", tidy::run);
    report.check("files for containers", docker::check_files);
}

fn build(report: &mut Report) -> Vec<Program> {
    let mut programs = Vec::new();
    report.check("build", || {
        let suite = Suite::build()?;
        programs = suite.programs;
        ensure!(suite.complete, "something does not compile; see above");
        Ok(())
    });
    programs
}
