//! Calls of functions, now or later.

pub(crate) mod callback;
pub(crate) mod invoke;
pub(crate) mod queue;
