//! The rules of this tree that no other tool checks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::shell;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// Written in two parts, so that this file may be checked too.
const FORBIDDEN: [&str; 3] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// Checks all source files.
///
/// # Errors
///
/// When a rule is broken; the error names each place.
pub(crate) fn run() -> Result<()> {
    let workspace = shell::workspace();
    let mut faults = Vec::new();
    for crate_folder in crates(workspace)? {
        faults.extend(unsafe_code_allowed(&crate_folder));
        for file in source_files(&crate_folder)? {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let name = file
                .strip_prefix(workspace)
                .unwrap_or(&file)
                .display()
                .to_string();
            faults.extend(faults_of(&name, &text));
            faults.extend(long_functions_of(&name, &text));
        }
    }
    if !faults.is_empty() {
        bail!("tidy:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

fn crates(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut crates = children(workspace)?;
    crates.retain(|folder| folder.join("Cargo.toml").is_file());
    Ok(crates)
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn source_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in children(folder)? {
        if path.is_dir() && !path.ends_with("target") {
            files.extend(source_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn unsafe_code_allowed(crate_folder: &Path) -> Option<String> {
    let roots = ["src/lib.rs", "src/main.rs"].map(|root| crate_folder.join(root));
    let root = roots.into_iter().find(|root| root.is_file())?;
    let text = fs::read_to_string(&root).unwrap_or_default();
    let kept = text.contains("#![forbid(unsafe_code)]") || text.contains("#![deny(unsafe_code)]");
    (!kept).then(|| format!("{}: neither forbids nor denies unsafe code", root.display()))
}

fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{name}: {lines} lines, more than {FILE_LINES_MAX}"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let found = FORBIDDEN.iter().filter(|word| line.contains(**word));
        faults.extend(found.map(|word| format!("{name}:{number}: {word}")));
    }
    faults
}

/// Formatted code closes a function with a brace below its first letter.
fn long_functions_of(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
        let indent = line.len() - line.trim_start().len();
        let end = |line: &&str| line.trim_end() == format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[start..].iter().position(end) else {
            continue;
        };
        if length + 1 > FUNCTION_LINES_MAX {
            long.push(format!(
                "{name}:{}: a function of {} lines",
                start + 1,
                length + 1
            ));
        }
    }
    long
}

fn begins_function(line: &str) -> bool {
    let words = line.split_whitespace();
    let qualifiers = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "const",
        "async",
        "unsafe",
        "extern",
        "\"C\"",
    ];
    let first = words.into_iter().find(|word| !qualifiers.contains(word));
    first == Some("fn") && !line.trim_end().ends_with([';', '}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_functions_are_found() {
        let function = |lines: usize| {
            format!(
                "    pub fn f() {{\n{}    }}\n",
                "        x();\n".repeat(lines - 2)
            )
        };
        assert!(long_functions_of("f.rs", &function(70)).is_empty());
        assert_eq!(
            long_functions_of("f.rs", &function(71)),
            ["f.rs:1: a function of 71 lines"]
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = format!("fn f() {{\n    {})\n}}\n", FORBIDDEN[0]);
        assert_eq!(faults_of("f.rs", &text), [format!("f.rs:2: {}", FORBIDDEN[0])]);
    }
}
