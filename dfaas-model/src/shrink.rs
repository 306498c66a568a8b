//! Makes a script that fails smaller, as long as it fails in the same way.

use crate::{
    node::Node,
    outcome::{Report, Wrong},
    script::{Answer, Ending, Framing, Script},
    world,
};

/// So many runs are tried.
const TRIES: u32 = 600;

/// Makes a script smaller that has this finding.
#[must_use]
pub fn shrink(script: &Script, wrong: Wrong, node: &mut impl Node) -> Script {
    let mut shrinker = Shrinker { wrong, left: TRIES };
    let mut best = script.clone();
    // What chance has done is written down, so that it stays when the script changes.
    let happened = world::run(script, node, false).mishaps;
    let fixed = Script {
        mishaps: Some(happened),
        ..script.clone()
    };
    if shrinker.fails(&fixed, node) {
        best = fixed;
    }
    loop {
        let before = shrinker.left;
        let smaller = candidates(&best)
            .into_iter()
            .find(|candidate| shrinker.left > 0 && shrinker.fails(candidate, node));
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
        if before == 0 {
            return best;
        }
    }
}

struct Shrinker {
    wrong: Wrong,
    left: u32,
}

impl Shrinker {
    fn fails(&mut self, script: &Script, node: &mut impl Node) -> bool {
        self.left = self.left.saturating_sub(1);
        let report: Report = world::run(script, node, false);
        report.findings.iter().any(|finding| finding.wrong == self.wrong)
    }
}

/// Scripts that are a step smaller, the largest steps first.
fn candidates(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    if script.clients.len() > 1 {
        all.extend((0..script.clients.len()).map(|index| {
            changed(script, |script| {
                script.clients.remove(index);
            })
        }));
    }
    for client in 0..script.clients.len() {
        let count = script.clients[client].requests.len();
        if count > 3 {
            all.push(changed(script, |script| {
                script.clients[client].requests.truncate(count / 2)
            }));
            all.push(changed(script, |script| {
                script.clients[client].requests.drain(..count / 2);
            }));
        }
        if count > 1 {
            all.extend((0..count).map(|index| {
                changed(script, |script| {
                    script.clients[client].requests.remove(index);
                })
            }));
        }
    }
    if let Some(mishaps) = &script.mishaps {
        if mishaps.len() > 3 {
            let half = mishaps.len() / 2;
            all.push(with_mishaps(script, &mishaps[..half]));
            all.push(with_mishaps(script, &mishaps[half..]));
        }
        all.extend((0..mishaps.len()).map(|index| {
            let rest: Vec<_> = [&mishaps[..index], &mishaps[index + 1..]].concat();
            with_mishaps(script, &rest)
        }));
    }
    for client in 0..script.clients.len() {
        for index in 0..script.clients[client].requests.len() {
            all.extend(simpler(script, client, index));
        }
        if script.clients[client].ending != Ending::Close {
            all.push(changed(script, |script| {
                script.clients[client].ending = Ending::Close
            }));
        }
    }
    all
}

fn with_mishaps(script: &Script, mishaps: &[crate::network::Mishap]) -> Script {
    changed(script, |script| script.mishaps = Some(mishaps.to_vec()))
}

/// A request with less about it.
fn simpler(script: &Script, client: usize, index: usize) -> Vec<Script> {
    let request = &script.clients[client].requests[index];
    let mut steps: Vec<fn(&mut crate::script::Request)> = Vec::new();
    let answer = &request.answer;
    if !request.cuts.is_empty() {
        steps.push(|request| request.cuts.clear());
        steps.push(|request| {
            request.cuts.pop();
        });
    }
    if request.body_bytes > 0 {
        steps.push(|request| request.body_bytes /= 2);
    }
    if request.head_bytes > 0 {
        steps.push(|request| request.head_bytes = 0);
    }
    if request.pause + request.gap > 0 {
        steps.push(|request| (request.pause, request.gap) = (0, 0));
    }
    if request.is_pipelined {
        steps.push(|request| request.is_pipelined = false);
    }
    let plain = Answer {
        manner: answer.manner,
        delay: 0,
        framing: Framing::Length,
        body_bytes: 0,
        head_bytes: 0,
        writes: 1,
        gap: 0,
        has_interim: false,
        has_wrong_body: false,
        says_close: false,
        closes_after: None,
    };
    let mut all: Vec<Script> = Vec::new();
    if *answer != plain {
        all.push(changed(script, |script| {
            script.clients[client].requests[index].answer = plain.clone();
        }));
        steps.push(|request| request.answer.delay = 0);
        steps.push(|request| (request.answer.writes, request.answer.gap) = (1, 0));
        steps.push(|request| request.answer.head_bytes = 0);
        steps.push(|request| request.answer.has_interim = false);
        steps.push(|request| request.answer.body_bytes /= 2);
    }
    for step in steps {
        let smaller = changed(script, |script| step(&mut script.clients[client].requests[index]));
        if format!("{smaller:?}") != format!("{script:?}") {
            all.push(smaller);
        }
    }
    all
}

fn changed(script: &Script, change: impl FnOnce(&mut Script)) -> Script {
    let mut script = script.clone();
    change(&mut script);
    script
}
