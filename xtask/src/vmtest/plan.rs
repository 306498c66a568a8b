//! What machines run: which tests over which links.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

/// A test program with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// What is done to the packets on all links, as `tc qdisc add … netem` takes it.
    pub(crate) netem: Option<&'static str>,
    /// Tests with such names are not run.
    pub(crate) left_out: Vec<&'static str>,
    /// Only tests with such names are run, if there are any.
    pub(crate) filter: Vec<String>,
    pub(crate) timeout: Duration,
}

/// What is done to packets.
#[derive(Debug)]
pub(crate) struct Profile {
    /// As one names it on the command line.
    pub(crate) name: &'static str,
    netem: Option<&'static str>,
    /// The kernels on which it is part of the ring of `cargo xtask test`.
    ring: &'static [&'static str],
}

/// A test that tells nothing in a machine.
#[derive(Debug)]
pub(crate) struct LeftOut {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
}

/// The test programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) verifier: PathBuf,
    pub(crate) fixtures: PathBuf,
    pub(crate) federation: PathBuf,
    /// The tests of the last one.
    pub(crate) tests: Vec<String>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent<'a> {
    /// What there is time for each time: that the kernel takes the programs, and that they work there.
    Short,
    /// What there is time for before a change is done.
    Ring,
    /// Everything.
    Full,
    /// Some profiles, and of those the tests with such names, if there are any.
    Only {
        profiles: &'a [String],
        tests: &'a [String],
    },
}

pub(crate) const PROFILES: &[Profile] = &[
    Profile {
        name: "plain",
        netem: None,
        ring: &["5.10", "6.1"],
    },
    Profile {
        name: "loss-1",
        netem: Some("loss 1%"),
        ring: &["5.10"],
    },
    Profile {
        name: "loss-5",
        netem: Some("loss 5%"),
        ring: &[],
    },
    Profile {
        name: "reordering",
        netem: Some("delay 5ms reorder 25% 50%"),
        ring: &["6.1"],
    },
    Profile {
        name: "duplication",
        netem: Some("duplicate 2%"),
        ring: &[],
    },
    Profile {
        name: "delay",
        netem: Some("delay 20ms"),
        ring: &[],
    },
];

/// Tests of the federation that are not run in a machine.
const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        name: "answers::many_connections_are_served",
        why: "its load leaves the agents no time to keep in touch",
    },
    LeftOut {
        name: "attack::limits::limits_hold",
        why: "measures rates, which one slow machine does not reach",
    },
    LeftOut {
        name: "faults::a_provider_that_stops",
        why: "a provider starts so slowly there that its peers forget its functions",
    },
    LeftOut {
        name: "faults::nothing_is_sent_to_a_node",
        why: "measures how soon agents notice, which depends on the machine",
    },
    LeftOut {
        name: "faults::requests_succeed_again_within_a_second",
        why: "a provider does not start within a second there",
    },
    LeftOut {
        name: "neighbours::",
        why: "measures rates, which three agents in one slow machine do not keep",
    },
    LeftOut {
        name: "proxy::both_ways_together",
        why: "measures rates, which one slow machine does not reach",
    },
    LeftOut {
        name: "reconfiguration::",
        why: "wants a rate of changes, which one slow machine does not reach",
    },
    LeftOut {
        name: "share::",
        why: "measures rates, which three agents in one slow machine do not keep",
    },
];

/// Tests about what users get, whatever happens to packets.
const OF_LINKS: [&str; 4] = ["answers", "requests", "tcp", "transfers"];
/// Those of them that there is time for before a change is done.
const OF_TRANSFERS: [&str; 2] = ["answers", "transfers"];

/// Tests about packets, on good links.
const OF_PACKETS: [&str; 5] = ["checksums", "ipv6", "paths", "requests", "tcp"];

/// The tests that tell most in the shortest time.
const SHORT: &str = "answers";
/// The tests that take longest.
const LONG: &str = "lossy";
/// The oldest kernel.
const FLOOR: &str = "5.10";

/// All programs are verified twice, and each time once more to be loaded: that takes 40 seconds on an idle machine.
const VERIFIER_TIMEOUT: Duration = Duration::from_secs(300);
/// Each test has the programs verified, which takes half a minute.
const FIXTURES_TIMEOUT: Duration = Duration::from_secs(3600);
const MODULE_TIMEOUT: Duration = Duration::from_secs(1200);
const LONG_TIMEOUT: Duration = Duration::from_secs(2400);
/// How long transfers over bad links are, in megabytes: 100 take a quarter of an hour in emulation.
const LONG_MB_FULL: u32 = 100;
const LONG_MB: u32 = 30;

/// What `--profile` takes.
pub(crate) fn names() -> Vec<&'static str> {
    PROFILES.iter().map(|profile| profile.name).collect()
}

/// How long transfers over bad links are, in megabytes.
pub(crate) fn long_mb(extent: Extent<'_>) -> u32 {
    match extent {
        Extent::Full => LONG_MB_FULL,
        Extent::Short | Extent::Ring | Extent::Only { .. } => LONG_MB,
    }
}

/// The runs on a kernel.
pub(crate) fn runs(kernel: &str, extent: Extent<'_>, programs: &Programs) -> Vec<Run> {
    let verifier = run("verifier", &programs.verifier, VERIFIER_TIMEOUT);
    let fixtures = run("fixtures", &programs.fixtures, FIXTURES_TIMEOUT);
    let mut runs = match extent {
        Extent::Short | Extent::Ring | Extent::Only { tests: [], .. } => vec![verifier],
        Extent::Full => vec![verifier, fixtures],
        Extent::Only { .. } => vec![],
    };
    let profiles = PROFILES.iter().filter(|profile| profile.is_in(kernel, extent));
    runs.extend(profiles.flat_map(|profile| profile.runs(kernel, extent, programs)));
    runs
}

fn run(name: &str, program: &Path, timeout: Duration) -> Run {
    Run {
        name: name.to_owned(),
        program: program.to_owned(),
        netem: None,
        left_out: Vec::new(),
        filter: Vec::new(),
        timeout,
    }
}

impl Profile {
    fn is_in(&self, kernel: &str, extent: Extent<'_>) -> bool {
        match extent {
            Extent::Ring => self.ring.contains(&kernel),
            Extent::Full => true,
            Extent::Short | Extent::Only { profiles: [], .. } => self.netem.is_none(),
            Extent::Only { profiles, .. } => profiles.iter().any(|name| name == self.name),
        }
    }

    /// A run for each module of tests: what they have in common, such as nodes that stay, ends with it.
    fn runs(&self, kernel: &str, extent: Extent<'_>, programs: &Programs) -> Vec<Run> {
        if let Extent::Only { tests, .. } = extent
            && !tests.is_empty()
        {
            // Who names a test knows why it is left out otherwise.
            let named = |test: &String| Run {
                left_out: Vec::new(),
                timeout: LONG_TIMEOUT,
                ..self.run(&format!("{} {test}", self.name), vec![test.clone()], programs)
            };
            return tests.iter().map(named).collect();
        }
        let modules = modules(&programs.tests);
        let wanted = |module: &&str| match extent {
            Extent::Short => *module == SHORT,
            Extent::Ring => {
                is_in_ring(kernel, module) && (self.netem.is_none() || OF_TRANSFERS.contains(module))
            }
            Extent::Full | Extent::Only { .. } => self.netem.is_none() || OF_LINKS.contains(module),
        };
        let chosen = modules.into_iter().filter(wanted);
        chosen.map(|module| self.run_of(module, programs)).collect()
    }

    fn run_of(&self, module: &str, programs: &Programs) -> Run {
        let name = format!("{} {module}", self.name);
        let run = self.run(&name, vec![format!("{module}::")], programs);
        Run {
            timeout: if module == LONG { LONG_TIMEOUT } else { run.timeout },
            ..run
        }
    }

    fn run(&self, name: &str, filter: Vec<String>, programs: &Programs) -> Run {
        Run {
            netem: self.netem,
            left_out: LEFT_OUT.iter().map(|test| test.name).collect(),
            filter,
            ..run(name, &programs.federation, MODULE_TIMEOUT)
        }
    }
}

/// There is time for what packets are about on one kernel, and for what tells most on both. Each module begins with
/// nodes whose programs are verified at the same time, which takes a minute and more.
fn is_in_ring(kernel: &str, module: &str) -> bool {
    let is_floor = kernel == FLOOR;
    match module {
        LONG => !is_floor,
        _ => OF_TRANSFERS.contains(&module) || (is_floor && OF_PACKETS.contains(&module)),
    }
}

/// The tests that runs leave out.
pub(crate) fn left_out(runs: &[Run]) -> impl Iterator<Item = &'static LeftOut> {
    LEFT_OUT
        .iter()
        .filter(|test| runs.iter().any(|run| run.left_out.contains(&test.name)))
}

/// The modules with tests that are not left out.
fn modules(tests: &[String]) -> BTreeSet<&str> {
    let kept = tests
        .iter()
        .filter(|test| !LEFT_OUT.iter().any(|out| test.contains(out.name)));
    kept.filter_map(|test| Some(test.split_once("::")?.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_has_a_run_unless_all_its_tests_are_left_out() {
        let names = |kernel, extent| -> Vec<String> {
            runs(kernel, extent, &programs())
                .into_iter()
                .map(|run| run.name)
                .collect()
        };
        let ring = names("5.10", Extent::Ring);
        assert_eq!(ring[..3], ["verifier", "plain answers", "plain tcp"]);
        assert!(!ring.contains(&"plain wrong".to_owned()), "{ring:?}");
        assert_eq!(names("6.1", Extent::Short), ["verifier", "plain answers"]);
        let full = names("6.1", Extent::Full);
        assert!(!full.contains(&"plain share".to_owned()), "{full:?}");
        assert_eq!(full.len(), 2 + 3 + 2 * (PROFILES.len() - 1));
    }

    #[test]
    fn what_is_asked_for_is_run_over_the_links_asked_for() {
        let tests = ["wrong::a".to_owned()];
        let only = |profiles| Extent::Only {
            profiles,
            tests: &tests,
        };
        let plain = runs("5.10", only(&[]), &programs());
        assert_eq!((plain.len(), plain[0].netem), (1, None));
        assert_eq!(plain[0].filter, tests);
        let lossy = runs("5.10", only(&["loss-5".to_owned()]), &programs());
        assert_eq!((lossy.len(), lossy[0].netem), (1, Some("loss 5%")));
        assert_eq!(lossy[0].name, "loss-5 wrong::a");
    }

    fn programs() -> Programs {
        Programs {
            verifier: "/t/verifier".into(),
            fixtures: "/t/kernel".into(),
            federation: "/t/federation".into(),
            tests: ["answers::a", "share::b", "tcp::a", "wrong::a"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}
