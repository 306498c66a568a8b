//! What a deployment runs: a local command, or a function built in.

use std::path::Path;

use crate::wire::Deployment;

const ECHO: &str = "builtin:echo";

/// The argument by which this binary becomes the ocr function.
pub(crate) const OCR_ARGUMENT: &str = "ocr";

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Program {
    Echo,
    /// A program and its arguments; never empty.
    Command(Vec<String>),
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ProgramError {
    #[error(
        "nothing says how to run the image {image:?}: this node runs functions as local processes; give an \
         envProcess (fprocess in stack.yaml), or one of the images it knows: figlet, shasum, ocr, {ECHO}"
    )]
    Unknown { image: String },
    #[error("{0:?} is no built-in function; there is {ECHO}")]
    NoBuiltin(String),
    #[error("the command {0:?} holds a NUL character; remove it")]
    Nul(String),
}

impl Program {
    /// Decides by the process a deployment names, else by its image. `this` is the path of this binary.
    pub(crate) fn of(deployment: &Deployment, this: &Path) -> Result<Self, ProgramError> {
        let image = well_known(&deployment.image);
        let process = match (process_of(deployment), image) {
            ("" | "python3 index.py", Some(WellKnown::Ocr)) => return Ok(Self::ocr(this)),
            ("", Some(WellKnown::Process(process))) => process,
            ("", None) => {
                return Err(ProgramError::Unknown {
                    image: deployment.image.clone(),
                });
            }
            (process, _) => process,
        };
        match process {
            ECHO => Ok(Self::Echo),
            "ocr" => Ok(Self::ocr(this)),
            process if process.starts_with("builtin:") => Err(ProgramError::NoBuiltin(process.to_owned())),
            process if process.contains('\0') => Err(ProgramError::Nul(process.to_owned())),
            // The classic watchdog knows no quotes and no shell.
            process => Ok(Self::Command(process.split(' ').map(str::to_owned).collect())),
        }
    }

    fn ocr(this: &Path) -> Self {
        Self::Command(vec![this.display().to_string(), OCR_ARGUMENT.to_owned()])
    }
}

enum WellKnown {
    Process(&'static str),
    Ocr,
}

fn process_of(deployment: &Deployment) -> &str {
    let variable = |name| deployment.env_vars.get(name).map(String::as_str);
    let process = match deployment.env_process.as_str() {
        "" => variable("function_process")
            .or_else(|| variable("fprocess"))
            .unwrap_or_default(),
        process => process,
    };
    process.trim()
}

/// Maps images of the OpenFaaS store, in any registry and of any version.
fn well_known(image: &str) -> Option<WellKnown> {
    if image == ECHO {
        return Some(WellKnown::Process(ECHO));
    }
    let repository = image.rsplit('/').next().unwrap_or(image);
    match repository.split([':', '@']).next().unwrap_or(repository) {
        "figlet" => Some(WellKnown::Process("figlet")),
        "shasum" | "sha512sum" => Some(WellKnown::Process("sha512sum")),
        "ocr" | "openfaas-ocr" => Some(WellKnown::Ocr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_wins_over_the_image() {
        check("ghcr.io/openfaas/alpine:latest", "sha512sum", Ok(&["sha512sum"]));
        check(
            "ghcr.io/openfaas/figlet:latest",
            "figlet -f big",
            Ok(&["figlet", "-f", "big"]),
        );
        check(
            "viveksyngh/openfaas-ocr:0.3.0",
            "python3 index.py",
            Ok(&["/p", "ocr"]),
        );
        check("python:3", "python3 index.py", Ok(&["python3", "index.py"]));
    }

    #[test]
    fn store_images_need_no_process() {
        check("ghcr.io/openfaas/figlet:latest", "", Ok(&["figlet"]));
        check("registry:5000/x/shasum@sha256:00", "", Ok(&["sha512sum"]));
        check("viveksyngh/openfaas-ocr:0.3.0", "", Ok(&["/p", "ocr"]));
    }

    #[test]
    fn single_spaces_split_and_nothing_else() {
        check("", "sh -c \"a  b\"", Ok(&["sh", "-c", "\"a", "", "b\""]));
    }

    #[test]
    fn unknown_images_are_refused() {
        check(
            "nginx:latest",
            "",
            Err(ProgramError::Unknown {
                image: "nginx:latest".to_owned(),
            }),
        );
        check(
            "",
            "builtin:nope",
            Err(ProgramError::NoBuiltin("builtin:nope".to_owned())),
        );
        check("", "a\0b", Err(ProgramError::Nul("a\0b".to_owned())));
    }

    #[test]
    fn echo_is_built_in() {
        for (image, process) in [(ECHO, ""), ("", ECHO), ("anything", ECHO)] {
            assert_eq!(
                Program::of(&deployment(image, process), Path::new("/p")),
                Ok(Program::Echo)
            );
        }
    }

    #[track_caller]
    fn check(image: &str, process: &str, want: Result<&[&str], ProgramError>) {
        let got = Program::of(&deployment(image, process), Path::new("/p"));
        let want = want.map(|words| Program::Command(words.iter().map(|&word| word.to_owned()).collect()));
        assert_eq!(got, want);
    }

    fn deployment(image: &str, process: &str) -> Deployment {
        Deployment {
            image: image.to_owned(),
            env_process: process.to_owned(),
            ..Deployment::default()
        }
    }
}
