//! The base image: a Debian of this machine's release with all that a node's image installs, so that no registry and no
//! mirror is needed inside of a build.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{engine::folder, images::NODE_FILE};
use crate::{debootstrap, shell};

/// Makes the archive of the base, unless there is one of the same packages already.
///
/// # Errors
///
/// When debootstrap fails, which fetches packages from a mirror.
pub(crate) fn make() -> Result<()> {
    let file = shell::workspace().join(NODE_FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    debootstrap::make(&archive(), &packages(&text)?)
}

/// Where the archive is.
pub(crate) fn archive() -> PathBuf {
    folder().join("base.tar")
}

/// The packages that a dockerfile installs.
fn packages(dockerfile: &str) -> Result<Vec<&str>> {
    let (_, rest) = dockerfile
        .split_once("apt-get install")
        .context("the dockerfile installs nothing")?;
    let (list, _) = rest.split_once("&&").unwrap_or((rest, ""));
    let words = list.split_whitespace();
    Ok(words
        .filter(|word| !word.starts_with('-') && *word != "\\")
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_a_dockerfile_are_read() {
        let text = "RUN apt-get update \\\n    && apt-get install --no-install-recommends -y \\\n        curl tini \\\n    && rm -rf /x\n";
        assert_eq!(packages(text).unwrap(), ["curl", "tini"]);
        assert!(packages("FROM x\n").is_err());
    }

    #[test]
    fn the_node_has_an_init_and_the_functions_programs() {
        let text = fs::read_to_string(shell::workspace().join(NODE_FILE)).unwrap();
        let packages = packages(&text).unwrap();
        for package in ["figlet", "haproxy", "perl", "tesseract-ocr", "tini"] {
            assert!(packages.contains(&package), "{packages:?}");
        }
    }
}
