//! What agents have left that are gone, taken away.

use std::{fs, path::Path};

use anyhow::Result;

use super::{attached, pins, sysctls};

/// What was taken away, and what was left to agents that run.
#[derive(Debug, Default)]
pub(crate) struct Cleaned {
    pub(crate) removed: Vec<String>,
    /// The names of instances.
    pub(crate) busy: Vec<String>,
}

/// Takes away what agents have pinned below a bpffs, their filters at interfaces of this network namespace, and puts its
/// settings back.
///
/// # Errors
/// Something can be seen and not be taken away; with the reason.
pub(crate) fn clean(root: Option<&Path>) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let instances = root.map(pins::instances).transpose()?.unwrap_or_default();
    for (name, folder) in instances {
        let Some(_lock) = pins::lock(&folder)? else {
            cleaned.busy.push(name);
            continue;
        };
        pins::remove(&folder)?;
        cleaned.removed.push(folder.display().to_string());
    }
    let prefix = pins::prefix()?;
    if cleaned.busy.iter().any(|name| name.starts_with(&prefix)) {
        return Ok(cleaned);
    }
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = interfaces.lines().filter_map(|line| line.split_once(':'));
    for (name, _) in names {
        attached::detach_filters(name.trim());
    }
    for record in sysctls::records(&prefix) {
        cleaned.removed.extend(record.put_back());
    }
    Ok(cleaned)
}
