//! One process from its start to the end of what it and its children write.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ChildStdin, Command, ExitStatus};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::{CallError, Classic};
use crate::run::function_log::FunctionLog;
use crate::run::isolation::cgroup::Cgroup;
use crate::run::isolation::{Isolation, memory};
use crate::run::launch::Launch;
use crate::run::process::Process;
use crate::web::spool::Input;

/// How long children of a process that has ended may go on to write, if the function has no time-out.
const LATE_OUTPUT: Duration = Duration::from_secs(5);

pub(super) struct Finished {
    pub(super) process: u32,
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
}

/// The ends of a process that the platform keeps.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) input: Option<ChildStdin>,
    pub(super) output: pipe::Receiver,
    pub(super) errors: Option<pipe::Receiver>,
}

pub(super) fn start(launch: &Launch, mut command: Command, combined: bool) -> io::Result<Started> {
    let (output, writer) = io::pipe()?;
    let errors = match combined {
        true => {
            command.stderr(writer.try_clone()?);
            None
        }
        false => {
            let (errors, writer) = io::pipe()?;
            command.stderr(writer);
            Some(receiver(errors)?)
        }
    };
    command.stdout(writer);
    let mut process = launch.start(&mut command)?;
    let input = process.take_input();
    Ok(Started {
        process,
        input,
        output: receiver(output)?,
        errors,
    })
}

fn receiver(reader: io::PipeReader) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(OwnedFd::from(reader))
}

/// Waits for the process and then for all who hold its output, and kills what is left. Dropping the future kills the
/// process and everything it started.
pub(super) async fn to_its_end(
    started: Started,
    classic: &Classic,
    input: Input,
) -> Result<Finished, CallError> {
    let Started {
        mut process,
        input: pipe,
        output,
        errors,
    } = started;
    let pid = process.id();
    let mut collected = Vec::new();
    let talk = async {
        tokio::try_join!(
            feed(pipe, &input),
            collect(output, &mut collected, classic.settings.output_bytes_max),
            note_errors(errors, pid, &classic.log),
        )
        .map(drop)
    };
    let memory = Memory::of(classic.launch.isolation());
    let status = tokio::select! {
        status = attend(&mut process, talk, classic.settings.exec_timeout) => status?,
        error = memory.exceeded(pid) => return Err(error),
    };
    memory.check(status)?;
    Ok(Finished {
        process: pid,
        status,
        output: collected,
    })
}

/// The memory that a process may take, and who bounds it.
pub(super) struct Memory<'a> {
    limit: Option<u64>,
    cgroup: Option<(&'a Cgroup, u64)>,
}

impl<'a> Memory<'a> {
    pub(super) fn of(isolation: &'a Isolation) -> Self {
        let cgroup = isolation.memory_cgroup();
        Self {
            limit: isolation.memory_max(),
            cgroup: cgroup.map(|cgroup| (cgroup, cgroup.out_of_memory())),
        }
    }

    /// Looks, if the kernel does not.
    pub(super) async fn exceeded(&self, process: u32) -> CallError {
        match (self.limit, self.cgroup) {
            (Some(limit), None) => {
                memory::exceeded(process, limit).await;
                CallError::Memory(limit)
            }
            (_, _) => std::future::pending().await,
        }
    }

    /// Tells whether a process that ended was killed for what it took.
    pub(super) fn check(&self, status: ExitStatus) -> Result<(), CallError> {
        match (self.limit, self.cgroup) {
            (Some(limit), Some((cgroup, before))) if !status.success() && cgroup.out_of_memory() > before => {
                Err(CallError::Memory(limit))
            }
            (_, _) => Ok(()),
        }
    }
}

/// Output may come from children after the leader's exit, as from `tee >(...)`.
async fn attend(
    process: &mut Process,
    talk: impl Future<Output = Result<(), CallError>>,
    exec_timeout: Duration,
) -> Result<ExitStatus, CallError> {
    let mut talk = std::pin::pin!(talk);
    tokio::select! {
        talked = &mut talk => talked?,
        exited = process.exited() => {
            exited?;
            let late = match exec_timeout {
                Duration::ZERO => LATE_OUTPUT,
                // The call as a whole ends then.
                limit => limit,
            };
            timeout(late, &mut talk).await.unwrap_or(Ok(()))?;
        }
    }
    Ok(process.wait().await?)
}

/// Writes the request to the process, which need not read it.
async fn feed(pipe: Option<ChildStdin>, input: &Input) -> Result<(), CallError> {
    if let (Some(pipe), Input::Memory(bytes)) = (pipe, input) {
        let mut pipe = pipe::Sender::from_owned_fd(OwnedFd::from(pipe))?;
        // A process that ends without having read all of it says by its status how it went.
        let _ = pipe.write_all(bytes).await;
    }
    Ok(())
}

async fn collect(output: pipe::Receiver, collected: &mut Vec<u8>, limit: u64) -> Result<(), CallError> {
    let length = output
        .take(limit.saturating_add(1))
        .read_to_end(collected)
        .await?;
    match length as u64 > limit {
        true => Err(CallError::Output(limit)),
        false => Ok(()),
    }
}

pub(super) async fn note_errors(
    errors: Option<pipe::Receiver>,
    pid: u32,
    log: &FunctionLog,
) -> Result<(), CallError> {
    match errors {
        Some(errors) => Ok(log.copy(pid, "stderr: ", errors).await?),
        None => Ok(()),
    }
}
