//! A virtual machine that boots a kernel, runs tests one program after another, and ends.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::plan::Run;
use crate::suite;

/// Before and after the output of a run.
const BEGIN: &str = "vmtest: begin ";
const END: &str = "vmtest: end ";
/// For booting and unpacking, which take some ten.
const BOOT_SECONDS: u64 = 120;
/// Tests that wait find out how slow an emulated machine is, which depends on what else this one does.
const SLOWNESS: &str = "measured";

/// Makes `setpriv` run a program that is killed when its parent ends.
const WITH_PARENT: [&str; 2] = ["--pdeathsig", "KILL"];

const PROLOGUE: &str = "#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/usr/busybox HOME=/ TERM=dumb
/bin/busybox mkdir -p /usr/busybox
/bin/busybox --install -s /usr/busybox
echo
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
ulimit -n 65536
";

/// What a machine needs to be told.
pub(crate) struct Machine {
    pub(crate) image: PathBuf,
    /// Its root file system, packed.
    pub(crate) root: PathBuf,
    /// Where to write what comes over the serial line.
    pub(crate) log: PathBuf,
}

/// What a machine says.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Said<'a> {
    /// A run begins.
    Begin(&'a str),
    /// The run has ended with this status.
    End(i32),
    /// A line of the run's output.
    Line(&'a str),
}

/// The first program of a machine: it loads the modules, does all runs, and turns the machine off.
pub(crate) fn init(modules: &[String], folder: &Path, settings: &[(String, String)], runs: &[Run]) -> String {
    let mut script = PROLOGUE.to_owned();
    for module in modules {
        script += &format!("insmod /modules/{module}.ko\n");
    }
    script += &format!("cd {}\n", folder.display());
    script += &format!(
        "export CARGO_MANIFEST_DIR={} RUST_BACKTRACE=0\n",
        folder.display()
    );
    script += &format!("export DFAAS_TEST_SLOWNESS={SLOWNESS}\n");
    for (name, value) in settings {
        script += &format!("export {name}='{value}'\n");
    }
    for run in runs {
        // What is cut off ends in the middle of a line.
        script += &format!(
            "echo '{BEGIN}{}'\n{}\nstatus=$?; echo; echo '{END}'$status\n",
            run.name,
            command(run)
        );
    }
    script + "poweroff -f\n"
}

fn command(run: &Run) -> String {
    let netem = run
        .netem
        .map(|netem| format!("DFAAS_TEST_NETEM='{netem}' "))
        .unwrap_or_default();
    let skip = run.left_out.iter().map(|name| format!(" --skip {name}"));
    let filter = run.filter.iter().map(|name| format!(" '{name}'"));
    let arguments: String = skip.chain(filter).collect();
    format!(
        "{netem}timeout -k 5 {} {} --test-threads=1 --nocapture{arguments} 2>&1",
        run.timeout.as_secs(),
        run.program.display()
    )
}

impl Machine {
    /// Boots it and shows what it says until it ends.
    ///
    /// # Errors
    ///
    /// When it cannot be started or its log cannot be written.
    pub(crate) fn boot(&self, runs: &[Run], mut see: impl FnMut(Said<'_>)) -> Result<()> {
        let mut log = File::create(&self.log).with_context(|| format!("writing {}", self.log.display()))?;
        let at_most: u64 = BOOT_SECONDS + runs.iter().map(|run| run.timeout.as_secs() + 5).sum::<u64>();
        // Each dies with its parent, so that a machine does not outlive this program, however that ends.
        let mut machine = Command::new("setpriv");
        machine
            .args(WITH_PARENT)
            .args(["timeout", "-k", "5", &at_most.to_string(), "setpriv"])
            .args(WITH_PARENT)
            .arg("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
            .args([
                "-smp",
                "2",
                "-m",
                "3072",
                "-nic",
                "none",
                "-nographic",
                "-no-reboot",
            ])
            .args(["-append", "console=ttyS0 panic=-1 quiet"])
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(&self.root);
        let mut written = Ok(());
        suite::each_line(&mut machine, |line| {
            let line = line.trim_end_matches('\r');
            if written.is_ok() {
                written = writeln!(log, "{line}");
            }
            see(Said::read(line));
        })?;
        // The status of a machine that turned itself off says nothing of its runs.
        written.with_context(|| format!("writing {}", self.log.display()))
    }
}

impl<'a> Said<'a> {
    fn read(line: &'a str) -> Self {
        if let Some(name) = line.strip_prefix(BEGIN) {
            return Self::Begin(name);
        }
        let end = line.strip_prefix(END).and_then(|status| status.parse().ok());
        end.map_or(Self::Line(line), Self::End)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_ends_of_runs_are_told_from_their_output() {
        assert_eq!(Said::read("vmtest: begin loss 1 %"), Said::Begin("loss 1 %"));
        assert_eq!(Said::read("vmtest: end 101"), Said::End(101));
        assert_eq!(Said::read("test a ... ok"), Said::Line("test a ... ok"));
        assert_eq!(Said::read("vmtest: end of it"), Said::Line("vmtest: end of it"));
    }

    #[test]
    fn a_machine_loads_modules_before_it_runs_anything() {
        let run = Run {
            name: "loss 1 %".to_owned(),
            program: "/t/federation-1".into(),
            netem: Some("loss 1%"),
            left_out: vec!["share::"],
            filter: vec!["answers::".to_owned()],
            timeout: Duration::from_secs(9),
        };
        let settings = [("DFAAS_TEST_X".to_owned(), "1".to_owned())];
        let script = init(
            &["llc".to_owned(), "bridge".to_owned()],
            Path::new("/t"),
            &settings,
            &[run],
        );
        let (before, after) = script.split_once("vmtest: begin loss 1 %").unwrap();
        assert!(
            before.contains("insmod /modules/llc.ko\ninsmod /modules/bridge.ko\n"),
            "{before}"
        );
        assert!(before.contains("export DFAAS_TEST_X='1'\n"), "{before}");
        let command = "DFAAS_TEST_NETEM='loss 1%' timeout -k 5 9 /t/federation-1 --test-threads=1 --nocapture \
                       --skip share:: 'answers::' 2>&1\n";
        assert!(after.contains(command), "{after}");
        assert!(after.ends_with("poweroff -f\n"), "{after}");
    }
}
