//! What a row needs, and the carrying out of its steps.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use dfaas_testbed::{binary, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    exchange::{Exchange, connect},
    provider::{Provider, free_address},
    real::{self, Watchdog},
    table::{Piece, Row, Step},
    want::{Got, Want},
};
use crate::shell;

/// How long what is waited for may take.
const PATIENCE: Duration = Duration::from_secs(30);
const COPIES: &str = "dfaas-provider/tests/provider";
/// The user and the password of rows with credentials.
const CREDENTIALS: [(&str, &str); 2] = [("user", "admin"), ("password", "secret")];
const AUTHORIZATION: &str = "Basic YWRtaW46c2VjcmV0";

/// Who answers.
#[derive(Debug)]
enum Host {
    Ours(Box<Provider>),
    Watchdog(Watchdog),
}

/// A folder, a program that answers, and what is open between them.
#[derive(Debug)]
pub(crate) struct Stage {
    host: Host,
    faas_cli: Option<PathBuf>,
    port: SocketAddr,
    held: Vec<TcpStream>,
    /// The last, so that it goes when nobody uses it any more.
    directory: TempDir,
}

impl Stage {
    /// A provider with the row's functions.
    ///
    /// # Errors
    ///
    /// When it does not start, or refuses a function.
    pub(crate) fn with_provider(row: &Row, faas_cli: Option<PathBuf>) -> Result<Self> {
        let directory = folder(row)?;
        let mut arguments = vec!["--callback-allow".to_owned(), "127.0.0.0/8".to_owned()];
        if row.credentials {
            for (name, value) in CREDENTIALS {
                let path = directory.path().join(name);
                fs::write(&path, value)?;
                arguments.push(format!("--basic-auth-{name}-file"));
                arguments.push(path.display().to_string());
            }
        }
        let in_folder = |text: &String| text.replace("{dir}", &directory.path().display().to_string());
        arguments.extend(row.arguments.iter().map(in_folder));
        let provider = Provider::start(directory.path(), &arguments)?;
        let mut stage = Self::new(Host::Ours(Box::new(provider)), faas_cli, directory)?;
        for function in &row.functions {
            let reply = stage.post(function)?;
            if reply.code != 202 {
                bail!("{function}: {}", String::from_utf8_lossy(&reply.body));
            }
        }
        Ok(stage)
    }

    /// A real watchdog with the row's function.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn with_watchdog(row: &Row, path: &Path) -> Result<Self> {
        let directory = folder(row)?;
        let function = row.functions.first().context("the row has no function")?;
        let function = function
            .to_string()
            .replace("{dir}", &directory.path().display().to_string());
        let watchdog = Watchdog::start(path, directory.path(), &serde_json::from_str(&function)?)?;
        Self::new(Host::Watchdog(watchdog), None, directory)
    }

    fn new(host: Host, faas_cli: Option<PathBuf>, directory: TempDir) -> Result<Self> {
        Ok(Self {
            host,
            faas_cli,
            port: free_address()?,
            held: Vec::new(),
            directory,
        })
    }

    /// Does all steps of a row.
    ///
    /// # Errors
    ///
    /// When something is not as wanted.
    pub(crate) fn perform(&mut self, row: &Row) -> Result<()> {
        for (number, step) in row.step.iter().enumerate() {
            self.repeat(step)
                .with_context(|| format!("step {}", number + 1))?;
        }
        Ok(())
    }

    /// The platform's functions as it lists them, without what differs from run to run.
    ///
    /// # Errors
    ///
    /// When it does not list them.
    pub(crate) fn functions(&self) -> Result<Value> {
        let request = self.request("GET /system/functions", &Step::default())?;
        let got = self.exchange(
            vec![Piece::Text(self.with_credentials(request))],
            &Step::default(),
        )?;
        let text = String::from_utf8_lossy(&got.body);
        let text = text.replace(&self.directory.path().display().to_string(), "{dir}");
        let mut functions: Value = serde_json::from_str(&text).context("the list of functions")?;
        for function in functions.as_array_mut().into_iter().flatten() {
            function["createdAt"].take();
        }
        Ok(functions)
    }

    fn repeat(&mut self, step: &Step) -> Result<()> {
        if step.until {
            let mut last = Ok(());
            let waited = wait_until("what is wanted", PATIENCE, || {
                last = self.once(step);
                last.is_ok()
            });
            return waited.map(|_| ()).or(last);
        }
        for _ in 0..step.times.max(1) {
            thread::sleep(Duration::from_millis(step.pause_ms));
            self.once(step)?;
        }
        Ok(())
    }

    fn once(&mut self, step: &Step) -> Result<()> {
        let Some(got) = self.act(step)? else {
            return Ok(());
        };
        let check = |want: &Want| want.check(&got, |text| self.fill(text));
        match (&step.ours, &self.host) {
            (Some(ours), Host::Ours(_)) => {
                if check(&step.want).is_ok() {
                    bail!("it is as the real software's, and not as `ours` says");
                }
                check(ours)
            }
            (_, _) => check(&step.want),
        }
    }

    /// Does it, and gives what is to be judged of it.
    fn act(&mut self, step: &Step) -> Result<Option<Got>> {
        if let Some(line) = &step.send {
            let pieces = vec![Piece::Text(self.request(line, step)?)];
            return Ok(Some(self.exchange(pieces, step)?));
        }
        if let Some(pieces) = &step.raw {
            let filled = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Piece::Text(self.on_wire(&self.fill(text))),
                Piece::PauseMs(pause) => Piece::PauseMs(*pause),
            });
            let got = self.exchange(filled.collect(), step)?;
            return Ok((!step.leave).then_some(got));
        }
        if let Some(hold) = &step.hold {
            for _ in 0..hold.connections {
                let mut stream = connect(self.address())?;
                stream.write_all(self.on_wire(&self.fill(&hold.bytes)).as_bytes())?;
                self.held.push(stream);
            }
            return Ok(None);
        }
        if step.restart {
            match &mut self.host {
                Host::Ours(provider) => provider.restart()?,
                Host::Watchdog(_) => bail!("a watchdog has no state to start on"),
            }
            return Ok(None);
        }
        self.run(step).map(Some)
    }

    fn run(&self, step: &Step) -> Result<Got> {
        let run = |program: &Path, arguments: &[String]| {
            let arguments: Vec<_> = arguments.iter().map(|text| self.fill(text)).collect();
            let variables = step.variables.iter();
            let variables = variables.map(|(name, value)| (name.clone(), self.fill(value)));
            real::run(program, self.directory.path(), &arguments, &variables.collect())
        };
        if let Some(arguments) = &step.run {
            return run(&binary("dfaas-provider")?, arguments);
        }
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        if let Some(stack) = &step.deploy_stack {
            return match &self.faas_cli {
                Some(program) => run(program, &words(&["deploy", "-f", stack, "--gateway", "{url}"])),
                None => run(
                    &binary("dfaas-provider")?,
                    &words(&["deploy", "--stack", stack, "--gateway", "{url}"]),
                ),
            };
        }
        let program = self.faas_cli.as_deref().context("there is no faas-cli")?;
        run(program, step.faas_cli.as_deref().unwrap_or_default())
    }

    fn exchange(&self, pieces: Vec<Piece>, step: &Step) -> Result<Got> {
        let exchange = Exchange {
            pieces,
            half_close: step.half_close,
            leave: step.leave,
        };
        exchange.with(self.address())
    }

    /// A request as it goes over the wire.
    fn request(&self, line: &str, step: &Step) -> Result<String> {
        let body = match (&step.body, &step.json, step.size) {
            (Some(text), None, None) => self.fill(text),
            (None, Some(json), None) => self.fill(&json.to_string()),
            (None, None, Some(size)) => "x".repeat(size),
            (None, None, None) => String::new(),
            (_, _, _) => bail!("a request has one body"),
        };
        let mut head = format!("{} HTTP/1.1\r\n", self.on_wire(&self.fill(line)));
        let mut headers = step.headers.clone();
        let mut default = |name: &str, value: String| {
            if !headers.keys().any(|found| found.eq_ignore_ascii_case(name)) {
                headers.insert(name.to_owned(), value);
            }
        };
        default("Host", "provider".to_owned());
        default("Content-Length", body.len().to_string());
        for (name, value) in &headers {
            head.push_str(&format!("{name}: {}\r\n", self.fill(value)));
        }
        Ok(format!("{head}\r\n{body}"))
    }

    fn post(&mut self, function: &Value) -> Result<Got> {
        let step = Step {
            json: Some(function.clone()),
            ..Step::default()
        };
        let request = self.request("POST /system/functions", &step)?;
        self.exchange(vec![Piece::Text(self.with_credentials(request))], &step)
    }

    fn with_credentials(&self, request: String) -> String {
        match self.directory.path().join(CREDENTIALS[0].0).exists() {
            true => request.replacen("\r\n", &format!("\r\nAuthorization: {AUTHORIZATION}\r\n"), 1),
            false => request,
        }
    }

    fn address(&self) -> SocketAddr {
        match &self.host {
            Host::Ours(provider) => provider.gateway,
            Host::Watchdog(watchdog) => watchdog.address,
        }
    }

    /// A watchdog has its function at its root.
    fn on_wire(&self, text: &str) -> String {
        let Some((method, rest)) = text.split_once(" /function/") else {
            return text.to_owned();
        };
        match &self.host {
            Host::Ours(_) => text.to_owned(),
            Host::Watchdog(_) => {
                let end = rest.find(['/', '?', ' ']).unwrap_or(rest.len());
                let rest = &rest[end..];
                let slash = if rest.starts_with('/') { "" } else { "/" };
                format!("{method} {slash}{rest}")
            }
        }
    }

    /// Puts in what is known only when the row is run.
    fn fill(&self, text: &str) -> String {
        let functions = match &self.host {
            Host::Ours(provider) => provider.functions,
            Host::Watchdog(watchdog) => watchdog.address,
        };
        text.replace("{dir}", &self.directory.path().display().to_string())
            .replace("{url}", &format!("http://{}", self.address()))
            .replace("{functions}", &functions.to_string())
            .replace("{port}", &self.port.port().to_string())
            .replace("{60k}", &"y".repeat(60_000))
    }
}

fn folder(row: &Row) -> Result<TempDir> {
    let directory = tempfile::tempdir().context("making a folder")?;
    // Functions run as users of their own.
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
    for (name, text) in &row.files {
        fs::write(directory.path().join(name), text).with_context(|| name.clone())?;
    }
    for name in &row.copies {
        let from = shell::workspace().join(COPIES).join(name);
        fs::copy(&from, directory.path().join(name)).with_context(|| from.display().to_string())?;
    }
    Ok(directory)
}
