//! The man pages and the completions of shells, made from the command line's own definition.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

/// For which shells packages have completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

/// Writes all of them into a folder, which is made.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn write(command: &Command, folder: &Path) -> Result<()> {
    let context = || format!("writing into {}", folder.display());
    fs::create_dir_all(folder).with_context(context)?;
    clap_mangen::generate_to(command.clone(), folder).with_context(context)?;
    let name = command.get_name().to_owned();
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command.clone(), &name, folder).with_context(context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Args;

    #[test]
    fn each_command_has_a_page_and_each_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        write(&Args::command(), folder.path()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(read("dfaas-agent.1").contains("dfaas\\-agent"));
        assert!(read("dfaas-agent-run.1").contains("\\-\\-strategy"));
        for name in ["dfaas-agent.bash", "dfaas-agent.fish", "_dfaas-agent"] {
            assert!(read(name).contains("status"), "{name}");
        }
    }
}
