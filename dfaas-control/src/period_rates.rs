//! The rates of user requests over the last whole period, as the reference's strategies want them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::counters::Counters;
use crate::message::FUNCTIONS_MAX;
use crate::names::FunctionName;

/// Counts within a period, and the rates of the one before.
#[derive(Debug, Default)]
pub(crate) struct PeriodRates {
    counted: BTreeMap<FunctionName, u64>,
    elapsed: Duration,
    rates: BTreeMap<FunctionName, f64>,
}

impl PeriodRates {
    pub(crate) fn add(&mut self, counters: &Counters) {
        self.elapsed += counters.elapsed;
        for (name, counted) in &counters.functions {
            // The data plane counts what the policy names, so more than this is a mistake of the shell.
            if self.counted.len() < 2 * FUNCTIONS_MAX || self.counted.contains_key(name) {
                let count = self.counted.entry(name.clone()).or_insert(0);
                *count = count.saturating_add(counted.user);
            }
        }
    }

    /// Ends a period. The rates stay as they are if nothing was read within it.
    pub(crate) fn close(&mut self) {
        if self.elapsed.is_zero() {
            return;
        }
        let elapsed_s = std::mem::take(&mut self.elapsed).as_secs_f64();
        let counted = std::mem::take(&mut self.counted)
            .into_iter()
            .filter(|&(_, count)| count > 0);
        self.rates = counted
            .map(|(name, count)| (name, count as f64 / elapsed_s))
            .collect();
    }

    /// The rate in requests per second. A function without a request has none, which is not the same as 0: the
    /// reference takes a missing rate for underload, whatever the capacity.
    pub(crate) fn of(&self, name: &FunctionName) -> Option<f64> {
        self.rates.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::FunctionCounters;

    #[test]
    fn a_rate_is_of_the_whole_period_and_absent_without_requests() {
        let (asked, idle) = (
            FunctionName::new("asked").unwrap(),
            FunctionName::new("idle").unwrap(),
        );
        let mut rates = PeriodRates::default();
        for user in [30, 10] {
            rates.add(&counters(&[(&asked, user), (&idle, 0)], Duration::from_secs(1)));
        }
        assert_eq!(rates.of(&asked), None, "the period has not ended");
        rates.close();
        assert_eq!((rates.of(&asked), rates.of(&idle)), (Some(20.0), None));
        rates.close();
        assert_eq!(rates.of(&asked), Some(20.0), "nothing was read since");
        rates.add(&counters(&[], Duration::from_secs(1)));
        rates.close();
        assert_eq!(rates.of(&asked), None);
    }

    fn counters(users: &[(&FunctionName, u64)], elapsed: Duration) -> Counters {
        let counted = |user| FunctionCounters {
            user,
            ..FunctionCounters::default()
        };
        let functions = users.iter().map(|&(name, user)| (name.clone(), counted(user)));
        Counters {
            elapsed,
            functions: functions.collect(),
        }
    }
}
