//! A Docker engine in namespaces of its own.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use dfaas_testbed::{Namespace, Process, wait_until};

use crate::shell;

/// Where everything of this task is kept.
const FOLDER: &str = "target/docker-test";
/// Data of engines, a folder each, with the number of the process that started it.
const DATA_PREFIX: &str = "engine-";
/// The cgroup of all containers, with that number too.
const CGROUP_PREFIX: &str = "dfaas-docker-test-";
/// How long the engine may take to come up, and a script to end.
const START: Duration = Duration::from_secs(60);
const SCRIPT_SECONDS: &str = "240";
/// A user and a group that every Debian has.
const REMAPPED_USER: &str = "nobody";
const REMAPPED_GROUP: &str = "nogroup";
/// The major version of the first engine that knows CAP_BPF.
const KNOWS_BPF: u32 = 23;
/// The README writes `docker compose`, which some distributions call `docker-compose`. The base image has all packages,
/// so that building needs no network, nor BuildKit.
const PRELUDE: &str = r#"
export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=/run/docker-config DOCKER_BUILDKIT=0
if ! docker compose version >/dev/null 2>&1; then
    docker() {
        if [[ ${1:-} == compose ]]; then
            shift
            command docker-compose "$@"
        else
            command docker "$@"
        fi
    }
fi
"#;

/// Whose users a container's are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Users {
    /// The host's: root is root.
    Host,
    /// Each container has a user namespace, as with Sysbox.
    Remapped,
}

/// A running engine.
pub(crate) struct Engine {
    pub(crate) namespace: Namespace,
    daemon: Process,
    data: PathBuf,
    /// As in `20.10.24+dfsg1`.
    version: String,
    /// As in `overlay2`.
    storage: String,
}

impl Engine {
    /// Starts the daemon by hand, without systemd.
    ///
    /// # Errors
    ///
    /// When it does not come up; the error has the end of its log.
    pub(crate) fn start(users: Users) -> Result<Self> {
        remove_dead()?;
        let data = folder().join(format!("{DATA_PREFIX}{}", process::id()));
        fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
        Self::start_in(data.clone(), users).inspect_err(|_| {
            // The error of the start is the one to tell.
            let _ = remove(&data).and_then(|()| remove_cgroups(process::id()));
        })
    }

    fn start_in(data: PathBuf, users: Users) -> Result<Self> {
        let namespace = Namespace::new("docker")?;
        // The namespace's own /sys has none.
        mount(&namespace, &["-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])?;
        let mut options = options(&data);
        if users == Users::Remapped {
            remap(&namespace)?;
            options.push(format!("--userns-remap={REMAPPED_USER}:{REMAPPED_GROUP}"));
        }
        let daemon = Process::start(&namespace, "dockerd", "dockerd", &options)?;
        let mut engine = Self {
            namespace,
            daemon,
            data,
            version: String::new(),
            storage: String::new(),
        };
        let answered = wait_until("the engine's first answer", START, || {
            engine.ask_version().is_ok() || !engine.daemon.is_running()
        });
        answered.with_context(|| engine.daemon.log_tail(20))?;
        engine.version = engine.ask_version().with_context(|| engine.daemon.log_tail(20))?;
        engine.storage = engine
            .shell("docker info --format '{{.Driver}}'")?
            .trim()
            .to_owned();
        Ok(engine)
    }

    fn ask_version(&self) -> Result<String> {
        let version = self.shell("docker version --format '{{.Server.Version}}'")?;
        Ok(version.trim().to_owned())
    }

    /// Whether it knows the capabilities that came with Linux 5.8.
    pub(crate) fn knows_bpf(&self) -> bool {
        let major = self.version.split('.').next().and_then(|text| text.parse().ok());
        major.is_some_and(|major: u32| major >= KNOWS_BPF)
    }

    /// The Compose file for this engine.
    pub(crate) fn compose_file(&self) -> &'static str {
        if self.knows_bpf() {
            "docker-compose.yml"
        } else {
            "docker/engine-20.yml"
        }
    }

    /// Runs a script of shell commands in the folder of the workspace, and returns what it wrote.
    ///
    /// # Errors
    ///
    /// When a command fails; the error has what was written.
    pub(crate) fn shell(&self, script: &str) -> Result<String> {
        let (well, text) = self.try_shell(script)?;
        ensure!(well, "{script}:\n{text}");
        Ok(text)
    }

    /// Runs a script that is to fail, and returns what it wrote.
    ///
    /// # Errors
    ///
    /// When it does not fail.
    pub(crate) fn shell_that_fails(&self, script: &str) -> Result<String> {
        let (well, text) = self.try_shell(script)?;
        ensure!(!well, "{script}: was to fail:\n{text}");
        Ok(text)
    }

    fn try_shell(&self, script: &str) -> Result<(bool, String)> {
        let folder = shell::workspace().display();
        let settings = format!(
            "export COMPOSE_FILE={} COMPOSE_PROJECT_NAME=dfaas",
            self.compose_file()
        );
        let whole = format!("exec 2>&1\n{PRELUDE}\n{settings}\ncd '{folder}'\n{script}");
        let arguments = [SCRIPT_SECONDS, "bash", "-eu", "-o", "pipefail", "-c", &whole];
        let output = self.namespace.output("timeout", &arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.success(), text))
    }

    /// What containers and the engine have said of late.
    pub(crate) fn logs(&self) -> String {
        let script = "docker ps -a; for name in $(docker ps -a --format '{{.Names}}'); do \
            echo \"$name:\"; docker logs --tail 30 \"$name\"; done";
        let containers = self.shell(script).unwrap_or_else(|error| format!("{error:#}"));
        format!("{containers}\ndockerd:\n{}", self.daemon.log_tail(20))
    }

    /// Ends it with all that it has.
    ///
    /// # Errors
    ///
    /// When it does not end, or its folders cannot be removed.
    pub(crate) fn end(self) -> Result<()> {
        let status = self.daemon.terminate()?;
        drop(self.namespace);
        remove(&self.data)?;
        remove_cgroups(process::id())?;
        ensure!(status.success(), "dockerd ended with {status}");
        Ok(())
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "engine {}, storage {}, {}",
            self.version,
            self.storage,
            self.compose_file()
        )
    }
}

/// Where this task keeps what may be used again.
pub(crate) fn folder() -> PathBuf {
    shell::workspace().join(FOLDER)
}

fn mount(namespace: &Namespace, arguments: &[&str]) -> Result<()> {
    let mounted = namespace.output("mount", arguments)?;
    let complaint = String::from_utf8_lossy(&mounted.stderr);
    ensure!(
        mounted.status.success(),
        "mount {}: {complaint}",
        arguments.join(" ")
    );
    Ok(())
}

/// Gives a user a range of numbers for containers, which only the namespace sees.
fn remap(namespace: &Namespace) -> Result<()> {
    for file in ["subuid", "subgid"] {
        let path = namespace.path(&format!("/run/{file}"));
        // Ranges of groups are a user's too.
        fs::write(&path, format!("{REMAPPED_USER}:100000:65536\n"))
            .with_context(|| format!("writing {}", path.display()))?;
        mount(
            namespace,
            &["--bind", &format!("/run/{file}"), &format!("/etc/{file}")],
        )?;
    }
    Ok(())
}

fn options(data: &Path) -> Vec<String> {
    // /run is of the namespace, and goes with it.
    vec![
        format!("--data-root={}", data.display()),
        "--exec-root=/run/docker".to_owned(),
        "--pidfile=/run/docker.pid".to_owned(),
        "--host=unix:///run/docker.sock".to_owned(),
        format!("--cgroup-parent=/{CGROUP_PREFIX}{}", process::id()),
    ]
}

/// Removes what engines have left whose process was killed.
fn remove_dead() -> Result<()> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(DATA_PREFIX).and_then(|text| text.parse().ok());
        if let Some(owner) = owner.filter(|owner: &u32| !Path::new(&format!("/proc/{owner}")).exists()) {
            remove(&entry.path())?;
            remove_cgroups(owner)?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
}

/// Where cgroups of this task's containers may be: below each version 2 hierarchy that is mounted here.
pub(crate) fn cgroups(owner: u32) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (folder, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(folder))
    });
    let folders = hierarchies.map(|folder| folder.join(format!("{CGROUP_PREFIX}{owner}")));
    Ok(folders.filter(|folder| folder.is_dir()).collect())
}

fn remove_cgroups(owner: u32) -> Result<()> {
    cgroups(owner)?
        .iter()
        .try_for_each(|folder| remove_cgroup(folder))
}

/// A cgroup's files cannot be removed, and go with it.
fn remove_cgroup(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path())?;
    }
    let mut last = None;
    // The kernel takes a moment to let go of its last process.
    let gone = wait_until("end of a cgroup", Duration::from_secs(5), || {
        last = fs::remove_dir(folder).err();
        last.is_none()
    });
    match (gone, last) {
        (Ok(_), _) => Ok(()),
        (Err(_), Some(error)) => bail!("removing {}: {error}", folder.display()),
        (Err(error), None) => Err(error),
    }
}
