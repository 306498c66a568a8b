//! What a deployment makes of a function, and what runs it.

use std::path::Path;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::run::classic::Classic;
use crate::run::function_log::FunctionLog;
use crate::run::isolation::limits::{LimitError, Limits};
use crate::run::launch::{Homes, Launch};
use crate::run::program::{Program, ProgramError};
use crate::run::settings::{Mode, SettingError, Settings};
use crate::run::warm::Warm;
use crate::wire::Deployment;

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// A deployment that was found to make sense.
#[derive(Debug)]
pub(crate) struct Plan {
    program: Program,
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
}

impl Plan {
    /// `this` is the path of this binary, which is a function too.
    pub(crate) fn new(deployment: &Deployment, this: &Path) -> Result<Self, PlanError> {
        Ok(Self {
            program: Program::of(deployment, this)?,
            settings: Settings::read(&deployment.env_vars)?,
            limits: Limits::read(deployment.limits.as_ref())?,
        })
    }

    /// What is run; nothing, if the platform answers itself.
    pub(crate) fn words(&self) -> &[String] {
        match &self.program {
            Program::Echo => &[],
            Program::Command(words) => words,
        }
    }

    /// The port that the function chose itself.
    pub(crate) fn fixed_port(&self) -> Option<u16> {
        match &self.settings.mode {
            Mode::Warm { upstream } => upstream.map(|address| address.port()),
            Mode::Classic | Mode::Serializing | Mode::Streaming => None,
        }
    }

    pub(crate) fn runner(
        &self,
        deployment: &Deployment,
        settings: &Arc<Settings>,
        homes: Homes,
        log: &Arc<FunctionLog>,
        before: Option<TaskTracker>,
    ) -> Runner {
        let words = match &self.program {
            Program::Echo => return Runner::Echo,
            Program::Command(words) => words.clone(),
        };
        let launch = Launch::new(words, &deployment.env_vars, homes);
        match self.settings.mode {
            Mode::Classic | Mode::Serializing | Mode::Streaming => Runner::Classic(Classic {
                launch: Arc::new(launch),
                settings: Arc::clone(settings),
                log: Arc::clone(log),
            }),
            Mode::Warm { .. } => {
                let (settings, log) = (Arc::clone(settings), Arc::clone(log));
                Runner::Warm(Warm::new(launch, settings, log, before))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum Runner {
    Echo,
    Classic(Classic),
    Warm(Warm),
}
