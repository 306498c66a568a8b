//! The rules of this tree that no other tool checks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::shell;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// The crate that cannot do without unsafe code, and the only files where it may stand.
const UNSAFE_CRATE: &str = "dfaas-ebpf";
const UNSAFE_FILES: [&str; 5] = [
    "dfaas-ebpf/src/ctx.rs",
    "dfaas-ebpf/src/ctx/arrival.rs",
    "dfaas-ebpf/src/ctx/lookup.rs",
    "dfaas-ebpf/src/ctx/remembered.rs",
    "dfaas-ebpf/src/maps.rs",
];
/// Written in two parts, so that this file may be checked too.
const FORBIDDEN_CODE: [&str; 4] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("#[", "ignore"),
];
/// Folders that only the machine of one developer has.
const FORBIDDEN_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
const TEXTS: [&str; 7] = ["md", "rs", "sh", "service", "toml", "yaml", "yml"];

/// Checks all files.
///
/// # Errors
///
/// When a rule is broken; the error names each place.
pub(crate) fn run() -> Result<()> {
    let workspace = shell::workspace();
    let mut faults = Vec::new();
    for file in texts(workspace)? {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(workspace).unwrap_or(&file);
        faults.extend(faults_of(&name.display().to_string(), &text));
    }
    if !faults.is_empty() {
        bail!("rules of this tree are broken:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// The files that people write, built and hidden ones left out.
fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            texts.extend(self::texts(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| TEXTS.iter().any(|text| extension == *text))
        {
            texts.push(path);
        }
    }
    Ok(texts)
}

fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = words_of(name, text, &FORBIDDEN_PATHS);
    if name.ends_with(".rs") {
        faults.extend(words_of(name, text, &FORBIDDEN_CODE));
        faults.extend(long_file(name, text));
        faults.extend(long_functions_of(name, text));
        faults.extend(unsafe_code_of(name, text));
    }
    faults.extend(lints_left_out(name, text));
    faults
}

fn words_of(name: &str, text: &str, forbidden: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let found = forbidden.iter().filter(|word| line.contains(**word));
        faults.extend(found.map(|word| format!("{name}:{number}: {word}")));
    }
    faults
}

fn long_file(name: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > FILE_LINES_MAX).then(|| format!("{name}: {lines} lines, more than {FILE_LINES_MAX}"))
}

/// Every crate says in its root that it has no unsafe code, or denies it and excuses modules; one crate says where.
fn unsafe_code_of(name: &str, text: &str) -> Vec<String> {
    if name.split('/').next() == Some(UNSAFE_CRATE) {
        let lines = (1..).zip(text.lines());
        let found = lines.filter(|(_, line)| !UNSAFE_FILES.contains(&name) && has_unsafe_code(line));
        return found
            .map(|(number, _)| format!("{name}:{number}: unsafe code; it may stand in {UNSAFE_FILES:?} only"))
            .collect();
    }
    let is_root = matches!(
        name.split('/').collect::<Vec<_>>()[..],
        [_, "src", "lib.rs" | "main.rs"]
    );
    let kept = text.contains("#![forbid(unsafe_code)]") || text.contains("#![deny(unsafe_code)]");
    let fault = (is_root && !kept).then(|| format!("{name}: neither forbids nor denies unsafe code"));
    fault.into_iter().collect()
}

/// Whether a line has code that the compiler cannot check. Attributes such as `#[unsafe(no_mangle)]` only name things.
fn has_unsafe_code(line: &str) -> bool {
    let code = line
        .split("//")
        .next()
        .unwrap_or_default()
        .replace("#[unsafe(", "");
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == "unsafe")
}

fn lints_left_out(name: &str, text: &str) -> Option<String> {
    let is_crate = matches!(name.split('/').collect::<Vec<_>>()[..], [_, "Cargo.toml"]);
    (is_crate && !text.contains("[lints]\nworkspace = true"))
        .then(|| format!("{name}: without the lints of the workspace: [lints] workspace = true"))
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
        assert_eq!(long_functions_of("f.rs", &function(70)), [""; 0]);
        assert_eq!(
            long_functions_of("f.rs", &function(71)),
            ["f.rs:1: a function of 71 lines"]
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = format!("fn f() {{\n    {})\n}}\n", FORBIDDEN_CODE[0]);
        check(
            "a/src/f.rs",
            &text,
            &[&format!("a/src/f.rs:2: {}", FORBIDDEN_CODE[0])],
        );
        check("a/src/f.md", &text, &[]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let text = format!("cd {}x\n", FORBIDDEN_PATHS[1]);
        check(
            "README.md",
            &text,
            &[&format!("README.md:1: {}", FORBIDDEN_PATHS[1])],
        );
        check("README.md", "cd /proc/1/root\n", &[]);
    }

    #[test]
    fn files_have_a_length() {
        check("a/src/f.rs", &"\n".repeat(600), &[]);
        check(
            "a/src/f.rs",
            &"\n".repeat(601),
            &["a/src/f.rs: 601 lines, more than 600"],
        );
    }

    #[test]
    fn roots_deny_unsafe_code() {
        check("a/src/lib.rs", "#![forbid(unsafe_code)]\n", &[]);
        check("a/src/main.rs", "#![deny(unsafe_code)]\n", &[]);
        check("a/src/other.rs", "", &[]);
        check(
            "a/src/main.rs",
            "",
            &["a/src/main.rs: neither forbids nor denies unsafe code"],
        );
    }

    #[test]
    fn the_ebpf_programs_keep_unsafe_code_in_two_files() {
        let text = "#[unsafe(no_mangle)]\n// not unsafe\nlet not_unsafe = 1;\nunsafe { x() };\n";
        check("dfaas-ebpf/src/ctx.rs", text, &[]);
        let faults = faults_of("dfaas-ebpf/src/main.rs", text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].starts_with("dfaas-ebpf/src/main.rs:4: unsafe code"),
            "{faults:?}"
        );
    }

    #[test]
    fn crates_take_the_lints_of_the_workspace() {
        check("a/Cargo.toml", "[lints]\nworkspace = true\n", &[]);
        check("Cargo.toml", "", &[]);
        assert_eq!(faults_of("a/Cargo.toml", "").len(), 1);
    }

    #[track_caller]
    fn check(name: &str, text: &str, want: &[&str]) {
        assert_eq!(faults_of(name, text), want);
    }
}
