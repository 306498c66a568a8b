//! The programs and federations on older kernels, booted in software emulation, over good and bad links.

mod instructions;
mod kernel;
mod log;
mod machine;
mod plan;
mod root;
mod table;

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};

use self::{
    kernel::Kernel,
    log::Log,
    machine::Machine,
    plan::{Extent, Programs},
    root::Root,
    table::Table,
};
use crate::{
    ebpf, packages,
    report::{Report, Step},
    setup, shell,
    suite::{Program, Suite},
};

/// Programs that this task needs besides those that all tests do, and their packages.
const TOOLS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("strip", "binutils"),
];
/// What the test bed's network and the agents need of a kernel, where it is not built in.
const MODULES: [&str; 11] = [
    "veth",
    "bridge",
    "vxlan",
    "8021q",
    "sch_ingress",
    "cls_bpf",
    "sch_netem",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "tcp_diag",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this kernel; may be given more than once
    #[arg(long, value_parser = kernel::names())]
    kernel: Vec<String>,
    /// Only these links; may be given more than once
    #[arg(long, value_parser = plan::names())]
    profile: Vec<String>,
    /// Everything, not only what `cargo xtask test` has time for
    #[arg(long, conflicts_with_all = ["profile", "test"])]
    full: bool,
    /// Only tests of the federation with such names
    #[arg(last = true)]
    test: Vec<String>,
}

/// Boots each kernel and runs tests there.
///
/// # Errors
///
/// When this process is not root or something does not compile. What fails later is printed and makes the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    shell::need_root("vmtest")?;
    setup::tools()?;
    ebpf::build()?;
    let suite = Suite::build()?;
    ensure!(suite.complete, "something does not compile; see above");
    let extent = match args {
        Args { full: true, .. } => Extent::Full,
        Args { profile, test, .. } if profile.is_empty() && test.is_empty() => Extent::Ring,
        Args { profile, test, .. } => Extent::Only {
            profiles: profile,
            tests: test,
        },
    };
    let mut report = Report::default();
    let wanted =
        |kernel: &&Kernel| args.kernel.is_empty() || args.kernel.iter().any(|name| name == kernel.name);
    for kernel in kernel::ALL.iter().filter(wanted) {
        test(&mut report, kernel, extent, &suite.programs);
    }
    println!("{report}\n\n{}", Table::new(report.steps()));
    Ok(report.exit_code())
}

/// Boots all kernels and runs what there is time for each time.
pub(crate) fn short(report: &mut Report, programs: &[Program]) {
    on_all(report, Extent::Short, programs);
}

/// Boots all kernels and runs what there is time for before a change is done.
pub(crate) fn ring(report: &mut Report, programs: &[Program]) {
    on_all(report, Extent::Ring, programs);
}

fn on_all(report: &mut Report, extent: Extent<'_>, programs: &[Program]) {
    for kernel in kernel::ALL {
        test(report, kernel, extent, programs);
    }
}

fn test(report: &mut Report, kernel: &Kernel, extent: Extent<'_>, programs: &[Program]) {
    let had = install_tools().and_then(|()| kernel.fetch());
    let Ok(image) = had.inspect_err(|error| {
        println!("vmtest: SKIPPED: kernel {} cannot be had: {error:#}", kernel.name);
        report.push(Step {
            name: format!("{} SKIPPED", kernel.name),
            ..Step::default()
        });
    }) else {
        return;
    };
    let mut log = Log::new(kernel.name);
    let booted = boot(kernel, image, extent, programs, &mut log);
    report.check(&format!("{} machine", kernel.name), || booted);
    log.steps().for_each(|step| report.push(step));
}

fn boot(
    kernel: &Kernel,
    image: PathBuf,
    extent: Extent<'_>,
    programs: &[Program],
    log: &mut Log,
) -> Result<()> {
    let (programs, folder) = chosen(programs)?;
    let runs = plan::runs(kernel.name, extent, &programs);
    let root = Root::new(kernel.folder().join("root-file-system"))?;
    root.add_system()?;
    for program in [&programs.verifier, &programs.fixtures, &programs.federation] {
        root.add_ours(program)?;
    }
    for name in ["dfaas-agent", "dfaas-provider"] {
        root.add_ours(&dfaas_testbed::binary(name)?)?;
    }
    root.add_file(&ebpf::object())?;
    root.add_empty(&folder)?;
    let modules = root.add_modules(&kernel.modules(), &MODULES)?;
    root.write_program(
        "init",
        &machine::init(&modules, &folder, &settings(extent), &runs),
    )?;
    let machine = Machine {
        image,
        root: root.pack()?,
        log: kernel.folder().join("boot.log"),
    };
    for test in plan::left_out(&runs) {
        println!("vmtest: left out: {}: {}", test.name, test.why);
    }
    machine.boot(&runs, |said| log.see(&said))?;
    log.finish(&runs)
        .with_context(|| format!("all that the machine said is in {}", machine.log.display()))
}

/// Variables for tests: those of this process hold in machines too.
fn settings(extent: Extent<'_>) -> Vec<(String, String)> {
    let long = ("DFAAS_TEST_LONG_MB".to_owned(), plan::long_mb(extent).to_string());
    let ours = env::vars().filter(|(name, _)| name.starts_with("DFAAS_TEST_"));
    [long].into_iter().chain(ours).collect()
}

/// The programs that machines run, and the folder of their crate.
fn chosen(programs: &[Program]) -> Result<(Programs, PathBuf)> {
    let find = |name: &str| {
        let mut found = programs
            .iter()
            .filter(|program| program.name == format!("dfaas-testbed {name}"));
        found
            .next()
            .with_context(|| format!("the test program {name} was not built"))
    };
    let federation = find("federation")?;
    let chosen = Programs {
        verifier: find("kernel_verifier")?.file.clone(),
        fixtures: find("kernel")?.file.clone(),
        federation: federation.file.clone(),
        tests: tests_of(federation)?,
    };
    Ok((chosen, federation.folder.clone()))
}

/// The names of its tests.
fn tests_of(program: &Program) -> Result<Vec<String>> {
    let listed = shell::output(program.command().args(["--list", "--format=terse"]))?;
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
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
