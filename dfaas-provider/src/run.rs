//! What a function is and how it runs: processes, their limits, their counts and logs.

pub(crate) mod classic;
pub(crate) mod detached;
pub(crate) mod echo;
pub(crate) mod function;
pub(crate) mod function_log;
pub(crate) mod guard;
pub(crate) mod isolation;
pub(crate) mod launch;
pub(crate) mod ocr;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod settings;
pub(crate) mod stats;
pub(crate) mod upstream;
pub(crate) mod usage;
pub(crate) mod warm;
