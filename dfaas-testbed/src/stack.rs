//! The functions of a node, as `stack.yaml` describes them.

use std::fmt::Write as _;

/// A function that a node offers.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its image, or what the embedded platform has built in.
    pub image: String,
    /// The command that answers, where the image does not say it.
    pub process: Option<String>,
    /// How many requests a second the node takes for it.
    pub rate_rps: u32,
}

/// The function that draws letters.
pub fn figlet(rate_rps: u32) -> Function {
    Function {
        name: "figlet".to_owned(),
        image: "ghcr.io/openfaas/figlet:latest".to_owned(),
        process: Some("figlet".to_owned()),
        rate_rps,
    }
}

/// The function that computes checksums.
pub fn shasum() -> Function {
    Function {
        name: "shasum".to_owned(),
        image: "ghcr.io/openfaas/alpine:latest".to_owned(),
        process: Some("shasum".to_owned()),
        rate_rps: 100,
    }
}

impl Function {
    /// A function that answers with what it was sent, or with as many bytes as `?size=` says.
    pub fn echo(rate_rps: u32) -> Self {
        Self {
            name: "echo".to_owned(),
            image: "builtin:echo".to_owned(),
            process: None,
            rate_rps,
        }
    }

    /// The same function by another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }
}

/// The text of a `stack.yaml` with these functions.
pub(crate) fn yaml(functions: &[Function]) -> String {
    let mut text = "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n".to_owned();
    if functions.is_empty() {
        text = text.replace("functions:", "functions: {}");
    }
    for Function {
        name,
        image,
        process,
        rate_rps,
    } in functions
    {
        let process = process
            .iter()
            .fold(String::new(), |_, words| format!("    fprocess: {words}\n"));
        let entry = format!(
            "  {name}:\n    image: {image}\n{process}    labels:\n      dfaas.maxrate: \"{rate_rps}\"\n"
        );
        let _ = text.write_str(&entry);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_names_each_function_and_its_rate() {
        let text = yaml(&[figlet(10), Function::echo(5)]);
        assert!(
            text.contains("  figlet:\n    image: ghcr.io/openfaas/figlet:latest\n    fprocess: figlet\n")
        );
        assert!(
            text.ends_with("  echo:\n    image: builtin:echo\n    labels:\n      dfaas.maxrate: \"5\"\n")
        );
    }
}
