//! What netem does to packets, by what kernels have that are built without it.

use anyhow::{Context as _, Result, bail, ensure};

/// What chances are told in.
const ALL: u32 = 100_000;
/// Where packets are sent at once, and where they wait for others to overtake them.
const FAST: &str = "1:1";
const SLOW: &str = "1:2";
/// What makes a packet of full size late by some milliseconds. Fewer come late than overtake by netem, where all others
/// are delayed: else the slow way is full.
const SLOW_RATE: &str = "8mbit";
const LATE_PART: u32 = 10;

/// How many of [`ALL`] packets meet with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mishaps {
    lost: u32,
    doubled: u32,
    late: u32,
}

impl Mishaps {
    /// Reads `loss 1%`, `duplicate 1%` and `reorder 25% 50%`, the last with the delay that netem wants before it.
    ///
    /// # Errors
    ///
    /// When something else is asked for.
    pub(crate) fn read(netem: &str) -> Result<Self> {
        let mut mishaps = Self::default();
        let mut words = netem.split_whitespace().peekable();
        let mut has_delay = false;
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word}: how much?"))?;
            match word {
                "loss" => mishaps.lost = chance(value)?,
                "duplicate" => mishaps.doubled = chance(value)?,
                "reorder" => mishaps.late = chance(value)? / LATE_PART,
                "delay" => has_delay = true,
                _ => bail!("{word}: only netem can"),
            }
            // How much it depends on what the packet before met with.
            words.next_if(|word| word.ends_with('%'));
        }
        ensure!(!has_delay || mishaps.late > 0, "delay: only netem can");
        Ok(mishaps)
    }

    /// What `nft -f` takes for an interface.
    pub(crate) fn rules(self, interface: &str) -> String {
        let ends = [
            (self.lost, "drop".to_owned()),
            (self.doubled, format!("dup to \"{interface}\"")),
            (self.late, format!("meta priority set {SLOW}")),
        ];
        let met = ends.into_iter().filter(|(chance, _)| *chance > 0);
        let rules: String = met
            .map(|(chance, end)| format!("numgen random mod {ALL} < {chance} {end}\n"))
            .collect();
        let table = format!("table netdev {interface}");
        // What was done to packets before is done no longer.
        format!(
            "{table}\ndelete {table}\n{table} {{\nchain out {{\n\
             type filter hook egress device \"{interface}\" priority 0;\n{rules}}}\n}}\n"
        )
    }

    /// What `tc -batch` takes for an interface.
    pub(crate) fn ways(interface: &str) -> String {
        format!(
            "qdisc replace dev {interface} root handle 1: htb default 1\n\
             class replace dev {interface} parent 1: classid {FAST} htb rate 10gbit quantum 100000\n\
             class replace dev {interface} parent 1: classid {SLOW} htb rate {SLOW_RATE} burst 1600 cburst 1600 quantum 1600\n\
             qdisc replace dev {interface} parent {FAST} pfifo limit 20000\n\
             qdisc replace dev {interface} parent {SLOW} pfifo limit 20000\n"
        )
    }
}

/// How many of [`ALL`] are so many percent.
fn chance(percent: &str) -> Result<u32> {
    let number = percent
        .strip_suffix('%')
        .and_then(|number| number.parse::<f64>().ok());
    let number = number.with_context(|| format!("{percent} is no percentage"))?;
    Ok((number / 100.0 * f64::from(ALL)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_netem_is_told_is_understood() {
        check("loss 1%", (1_000, 0, 0));
        check("duplicate 2.5%", (0, 2_500, 0));
        check("delay 5ms reorder 25% 50%", (0, 0, 2_500));
        check("delay 1ms reorder 25% 50% loss 1%", (1_000, 0, 2_500));
        for other in ["delay 20ms", "corrupt 1%", "loss", "loss much"] {
            assert!(Mishaps::read(other).is_err(), "{other}");
        }
    }

    #[track_caller]
    fn check(netem: &str, (lost, doubled, late): (u32, u32, u32)) {
        let want = Mishaps { lost, doubled, late };
        assert_eq!(Mishaps::read(netem).unwrap(), want, "{netem}");
    }
}
