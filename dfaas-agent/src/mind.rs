//! The core, with an ear on all that it is told.

use std::{ops::Deref, time::Instant};

use dfaas_control::{Control, Input, Output, StrategyKind, SwitchError};

use crate::recording::{Event, Recorder};

#[derive(Debug)]
pub(crate) struct Mind {
    control: Control,
    recorder: Option<Recorder>,
}

impl Mind {
    pub(crate) fn new(control: Control, recorder: Option<Recorder>) -> Self {
        Self { control, recorder }
    }

    pub(crate) fn handle_input(&mut self, now: Instant, input: Input) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(now, Event::Input(input.clone()));
        }
        self.control.handle_input(now, input);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(now, Event::Timeout);
        }
        self.control.handle_timeout(now);
    }

    pub(crate) fn switch(&mut self, now: Instant, strategy: StrategyKind) -> Result<(), SwitchError> {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(now, Event::Switch(strategy));
        }
        self.control.switch(now, strategy)
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.control.poll_output()
    }
}

impl Deref for Mind {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}
