//! Tables in documents, which are written by what they tell of.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Puts a table between the marks of a file.
///
/// # Errors
///
/// When the file cannot be read or written, or has no such marks.
pub(crate) fn replace(file: &Path, mark: &str, table: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let text = replaced(&text, mark, table)
        .with_context(|| format!("{} has no marks for the table {mark}", file.display()))?;
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn replaced(text: &str, mark: &str, table: &str) -> Option<String> {
    let [begin, end] = ["begin", "end"].map(|place| format!("<!-- {mark}: {place} -->\n"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    let line_end = if table.ends_with('\n') { "" } else { "\n" };
    Some([before, &begin, table, line_end, &end, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\n<!-- y: end -->\n";
        let want = "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n<!-- y: begin -->\n<!-- y: end -->\n";
        assert_eq!(replaced(text, "x", "new").as_deref(), Some(want));
        assert_eq!(replaced(text, "z", "new"), None);
        assert_eq!(replaced("<!-- x: end -->\n<!-- x: begin -->\n", "x", "new"), None);
    }
}
