//! A call of a function, which is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use hyper::Response;

use super::Function;
use crate::clock;
use crate::web::body::Body;

/// What is recorded for a call whose caller left before the answer, as nginx does.
const CALLER_LEFT: u16 = 499;

/// A call from its arrival until its answer is sent; counted when dropped.
#[derive(Debug)]
pub(crate) struct Invocation {
    function: Arc<Function>,
    arrived: Instant,
    code: u16,
    admitted: bool,
}

impl Invocation {
    pub(super) fn new(function: Arc<Function>, arrived: Instant, admitted: bool) -> Self {
        Self {
            function,
            arrived,
            code: CALLER_LEFT,
            admitted,
        }
    }

    /// Whether the function has room for it.
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// Ends the call when the answer's body has been sent.
    pub(crate) fn answer(mut self, response: &mut Response<Body>) {
        self.code = response.status().as_u16();
        response.body_mut().hold(self);
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        let now = clock::now();
        if self.admitted {
            *self.function.last_call() = now;
            self.function.running.in_flight.fetch_sub(1, SeqCst);
        }
        let took = now.saturating_duration_since(self.arrived);
        self.function.stats().finish(self.code, took);
    }
}
