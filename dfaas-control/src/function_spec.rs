//! What the platform says about a function.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::RATE_RPS_MAX;

/// The label that holds a function's capacity in requests per second.
pub const MAXRATE_LABEL: &str = "dfaas.maxrate";

/// What the platform says about a function it runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// How many requests per second this node can serve, from the label `dfaas.maxrate`. What is not between 0 and
    /// 1e9 counts as 0.
    pub capacity_rps: f64,
}

/// Why labels do not tell a capacity.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LabelError {
    /// There is no such label.
    #[error("label {MAXRATE_LABEL} is missing")]
    Missing,
    /// The label is not a number.
    #[error("label {MAXRATE_LABEL} is {0:?}, not a number")]
    NotANumber(String),
    /// The label is a number that cannot be a rate.
    #[error("label {MAXRATE_LABEL} is {0}, not between 0 and {RATE_RPS_MAX}")]
    OutOfRange(f64),
}

impl FunctionSpec {
    /// Reads the capacity from a function's labels.
    ///
    /// # Errors
    ///
    /// Fails if the label `dfaas.maxrate` is missing or not a rate.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Result<Self, LabelError> {
        let text = labels.get(MAXRATE_LABEL).ok_or(LabelError::Missing)?;
        let rate: f64 = text
            .trim()
            .parse()
            .map_err(|_| LabelError::NotANumber(text.clone()))?;
        if (0.0..=RATE_RPS_MAX).contains(&rate) {
            Ok(Self { capacity_rps: rate })
        } else {
            Err(LabelError::OutOfRange(rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_comes_from_the_label() {
        check(Some("10"), Ok(10.0));
        check(Some(" 2.5 "), Ok(2.5));
        check(Some("0"), Ok(0.0));
        check(None, Err(LabelError::Missing));
        check(Some("ten"), Err(LabelError::NotANumber("ten".to_owned())));
        check(Some("-1"), Err(LabelError::OutOfRange(-1.0)));
        check(Some("inf"), Err(LabelError::OutOfRange(f64::INFINITY)));
        check(Some("1e10"), Err(LabelError::OutOfRange(1e10)));
    }

    #[track_caller]
    fn check(label: Option<&str>, want: Result<f64, LabelError>) {
        let labels = label
            .map(|text| (MAXRATE_LABEL.to_owned(), text.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(
            FunctionSpec::from_labels(&labels).map(|spec| spec.capacity_rps),
            want
        );
    }
}
