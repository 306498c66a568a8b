//! What can be said of the files without an engine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

const COMPOSE_FILES: [&str; 4] = [
    "docker-compose.yml",
    "docker/engine-20.yml",
    "docker/sidecar.yml",
    "docker/sysbox.yml",
];
const FOLDERS_OF_SCRIPTS: [&str; 3] = [".", "docker/files", "utils"];

/// Checks that Compose and bash understand the files, and that nothing is privileged.
///
/// # Errors
///
/// When one is wrong; the error has what was said of it.
pub(crate) fn check() -> Result<()> {
    for file in COMPOSE_FILES {
        let mut compose = compose();
        compose
            .current_dir(shell::workspace())
            .args(["-f", file, "-p", "dfaas", "config"]);
        let config = shell::output(&mut compose)?;
        check_rights(file, &config)?;
    }
    for script in scripts()? {
        shell::output(Command::new("bash").arg("-n").arg(&script))?;
    }
    Ok(())
}

/// Nodes get no more rights than each of the file's lines says.
fn check_rights(file: &str, config: &str) -> Result<()> {
    for forbidden in [
        "privileged",
        "/var/run",
        "userns_mode",
        "network_mode: host",
        "pid: host",
    ] {
        ensure!(!config.contains(forbidden), "{file} has {forbidden:?}:\n{config}");
    }
    let services = config.matches("container_name:").count();
    for needed in ["cap_drop:", "no-new-privileges"] {
        let found = config.matches(needed).count();
        ensure!(
            services > 0 && found == services,
            "{file}: {found} of {services} services have {needed:?}:\n{config}"
        );
    }
    Ok(())
}

fn compose() -> Command {
    if shell::find("docker-compose").is_some() {
        return Command::new("docker-compose");
    }
    let mut command = Command::new("docker");
    command.arg("compose");
    command
}

fn scripts() -> Result<Vec<PathBuf>> {
    let mut scripts = Vec::new();
    for folder in FOLDERS_OF_SCRIPTS.map(|folder| shell::workspace().join(folder)) {
        let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let files = entries.flatten().map(|entry| entry.path());
        scripts.extend(files.filter(|path| is_script(path)));
    }
    ensure!(!scripts.is_empty(), "there are no scripts");
    Ok(scripts)
}

fn is_script(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_looked_at() {
        let good = "cap_drop:\n- ALL\ncontainer_name: a\nsecurity_opt:\n- no-new-privileges:true\n";
        check_rights("f", good).unwrap();
        check_rights("f", &format!("{good}privileged: true\n")).unwrap_err();
        check_rights("f", &format!("{good}container_name: b\n")).unwrap_err();
        check_rights("f", "").unwrap_err();
    }
}
