//! Variables of the environment in the text of a stack: `${NAME}` and `${NAME:-default}`.

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SubstitutionError {
    #[error("${{{0} has no end; close it, or write $${{ for the text itself")]
    Open(String),
    #[error("${{{0}}} is no variable; write ${{NAME}} or ${{NAME:-default}}, or $${{ for the text itself")]
    Name(String),
}

/// Puts in what `variable` says of each name. One that is not set is empty.
pub(super) fn substitute(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, SubstitutionError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &found[2..];
            continue;
        }
        out.push_str(before);
        let end = found.find('}');
        let end = end.ok_or_else(|| SubstitutionError::Open(found[2..].chars().take(20).collect()))?;
        out.push_str(&value(&found[2..end], &variable)?);
        rest = &found[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value(expression: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, SubstitutionError> {
    let end = expression.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let (name, rest) = expression.split_at(end.unwrap_or(expression.len()));
    let bad = || SubstitutionError::Name(expression.to_owned());
    if name.is_empty() {
        return Err(bad());
    }
    let found = variable(name);
    let filled = found.clone().filter(|found| !found.is_empty());
    if let Some(default) = rest.strip_prefix(":-").or_else(|| rest.strip_prefix(":=")) {
        return Ok(filled.unwrap_or_else(|| default.to_owned()));
    }
    if let Some(default) = rest.strip_prefix(['-', '=']) {
        return Ok(found.unwrap_or_else(|| default.to_owned()));
    }
    match rest.is_empty() {
        true => Ok(found.unwrap_or_default()),
        false => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in() {
        check(
            "image: ${REG:-docker.io}/x:${TAG:-latest}",
            "image: ghcr.io/x:latest",
        );
        check("sh ${HOME}/x", "sh /home/x");
        check("${NONE}|${EMPTY:-d}|${EMPTY-d}|${NONE=d}", "|d||d");
        check("$HOME $${HOME} $", "$HOME ${HOME} $");
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["${", "a ${HOME", "${}", "${HOME?x}", "${a b}"] {
            assert!(substitute(text, known).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(substitute(text, known).unwrap(), want);
    }

    fn known(name: &str) -> Option<String> {
        let value = match name {
            "REG" => "ghcr.io",
            "HOME" => "/home",
            "EMPTY" => "",
            _ => return None,
        };
        Some(value.to_owned())
    }
}
