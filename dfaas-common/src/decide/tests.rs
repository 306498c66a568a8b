use std::{collections::BTreeMap, vec::Vec};

use super::*;
use crate::{
    maps::REPLY_BYTES,
    meter::Limit,
    pick::{HERE, SLOTS, fallbacks, fill, slot},
};

#[derive(Default)]
struct Tokens {
    local: u32,
    admissions: BTreeMap<u32, u32>,
    targets: BTreeMap<u32, u32>,
    draws: u32,
}

fn take(tokens: &mut u32) -> bool {
    let has_token = *tokens > 0;
    *tokens = tokens.saturating_sub(1);
    has_token
}

impl Meter for Tokens {
    fn take_local(&mut self, _: &Function) -> bool {
        take(&mut self.local)
    }

    fn take_admission(&mut self, _: &Function, peer: u32) -> bool {
        self.admissions.get_mut(&peer).is_some_and(take)
    }

    fn draw(&mut self, function: &Function) -> u32 {
        self.draws += 1;
        u32::from(function.slots[slot(self.draws)])
    }

    fn take_cap(&mut self, _: &Function, index: u32) -> bool {
        self.targets.get_mut(&index).is_some_and(take)
    }
}

fn function(hosted: bool, weights: &[(u16, f64)]) -> Function {
    Function {
        id: 1,
        hosted: u32::from(hosted),
        local: Limit::UNLIMITED,
        slots: fill(weights),
        fallbacks: fallbacks(weights),
    }
}

#[test]
fn strangers_and_forgers_are_refused_whatever_they_ask_for() {
    let mut tokens = Tokens {
        local: 9,
        ..Tokens::default()
    };
    for (origin, answer) in [
        (Origin::Stranger, Answer::Stranger),
        (Origin::Forged, Answer::Forged),
    ] {
        let refused = Decision::Refuse(answer);
        assert_eq!(
            decide(Some(&function(true, &[])), origin, Failed::NONE, &mut tokens),
            refused
        );
        assert_eq!(decide(None, origin, Failed::NONE, &mut tokens), refused);
    }
    assert_eq!(tokens.local, 9);
}

#[test]
fn an_unknown_function_is_not_found() {
    let not_found = Decision::Refuse(Answer::NotFound);
    assert_eq!(
        decide(None, Origin::User, Failed::NONE, &mut Tokens::default()),
        not_found
    );
    assert_eq!(
        decide(None, Origin::Peer(1), Failed::NONE, &mut Tokens::default()),
        not_found
    );
}

#[test]
fn a_share_drawn_for_this_node_is_served_here_without_a_token() {
    let function = function(true, &[(HERE, 60.0), (1, 40.0)]);
    let mut tokens = Tokens {
        targets: [(1, 1000)].into(),
        ..Tokens::default()
    };
    let decisions: Vec<Decision> = (0..SLOTS)
        .map(|_| decide(Some(&function), Origin::User, Failed::NONE, &mut tokens))
        .collect();
    let here = decisions
        .iter()
        .filter(|&&decision| decision == Decision::Local)
        .count();
    let sent = decisions
        .iter()
        .filter(|&&decision| decision == Decision::Forward(1))
        .count();
    assert_eq!((here, sent), (614, 410), "60 and 40 of 100 of the slots");
}

#[test]
fn users_are_served_here_first_then_by_peers_then_refused() {
    let function = function(true, &[(1, 1.0)]);
    let mut tokens = Tokens {
        local: 2,
        targets: [(1, 1)].into(),
        ..Tokens::default()
    };
    let decisions: Vec<Decision> = (0..4)
        .map(|_| decide(Some(&function), Origin::User, Failed::NONE, &mut tokens))
        .collect();
    assert_eq!(
        decisions,
        [
            Decision::Local,
            Decision::Local,
            Decision::Forward(1),
            Decision::Refuse(Answer::Unavailable),
        ]
    );
}

#[test]
fn a_function_that_only_peers_run_is_reached_there() {
    let function = function(false, &[(3, 1.0)]);
    let mut tokens = Tokens {
        local: 9,
        targets: [(3, 1)].into(),
        ..Tokens::default()
    };
    assert_eq!(
        decide(Some(&function), Origin::User, Failed::NONE, &mut tokens),
        Decision::Forward(3)
    );
    assert_eq!(tokens.local, 9);
}

#[test]
fn a_full_target_gives_way_to_another() {
    let function = function(false, &[(1, 0.5), (2, 0.5)]);
    for _ in 0..SLOTS {
        let mut tokens = Tokens {
            targets: [(1, 0), (2, 1)].into(),
            ..Tokens::default()
        };
        assert_eq!(
            decide(Some(&function), Origin::User, Failed::NONE, &mut tokens),
            Decision::Forward(2)
        );
    }
}

#[test]
fn a_target_without_a_slot_is_tried_when_all_others_are_full() {
    let function = function(false, &[(1, 1.0), (2, 0.0)]);
    let mut tokens = Tokens {
        targets: [(1, 1), (2, 1)].into(),
        ..Tokens::default()
    };
    assert_eq!(
        decide(Some(&function), Origin::User, Failed::NONE, &mut tokens),
        Decision::Forward(1)
    );
    assert_eq!(
        decide(Some(&function), Origin::User, Failed::NONE, &mut tokens),
        Decision::Forward(2)
    );
    assert_eq!(
        decide(Some(&function), Origin::User, Failed::NONE, &mut tokens),
        Decision::Refuse(Answer::Unavailable)
    );
}

#[test]
fn what_a_peer_sends_is_served_up_to_its_limit_and_never_sent_on() {
    let function = function(true, &[(2, 1.0)]);
    let mut tokens = Tokens {
        local: 9,
        admissions: [(1, 1)].into(),
        targets: [(2, 9)].into(),
        draws: 0,
    };
    assert_eq!(
        decide(Some(&function), Origin::Peer(1), Failed::NONE, &mut tokens),
        Decision::Local
    );
    assert_eq!(
        decide(Some(&function), Origin::Peer(1), Failed::NONE, &mut tokens),
        Decision::Refuse(Answer::OverLimit)
    );
    assert_eq!(
        decide(Some(&function), Origin::Peer(7), Failed::NONE, &mut tokens),
        Decision::Refuse(Answer::OverLimit)
    );
    assert_eq!((tokens.local, tokens.draws), (9, 0));
}

#[test]
fn a_peer_cannot_ask_for_what_is_not_here() {
    let function = function(false, &[(2, 1.0)]);
    let mut tokens = Tokens {
        admissions: [(1, 9)].into(),
        targets: [(2, 9)].into(),
        ..Tokens::default()
    };
    assert_eq!(
        decide(Some(&function), Origin::Peer(1), Failed::NONE, &mut tokens),
        Decision::Refuse(Answer::NotFound)
    );
}

#[test]
fn who_has_failed_is_passed_over() {
    let function = function(true, &[(1, 0.8), (2, 0.2)]);
    let failed = |targets: &[u32]| {
        let mut failed = Failed::NONE;
        for (number, &target) in (0..).zip(targets) {
            failed.add(number, target);
        }
        failed
    };
    let decided = |targets: &[u32]| {
        let mut tokens = Tokens {
            local: 1,
            targets: [(1, 9), (2, 9)].into(),
            ..Tokens::default()
        };
        decide(Some(&function), Origin::User, failed(targets), &mut tokens)
    };
    assert_eq!(decided(&[]), Decision::Local);
    assert_eq!(decided(&[1]), Decision::Local);
    assert_eq!(decided(&[0, 1]), Decision::Forward(2));
    assert_eq!(decided(&[2, 0]), Decision::Forward(1));
    // Nobody is left: somebody may be back.
    assert_eq!(decided(&[2, 1, 0]), Decision::Local);
}

#[test]
fn a_share_of_this_node_goes_elsewhere_once_it_has_failed() {
    let function = function(true, &[(HERE, 1.0), (1, 0.0)]);
    let mut tokens = Tokens {
        targets: [(1, 1)].into(),
        ..Tokens::default()
    };
    let mut failed = Failed::NONE;
    failed.add(0, 0);
    assert_eq!(
        decide(Some(&function), Origin::User, failed, &mut tokens),
        Decision::Forward(1)
    );
}

#[test]
fn a_peer_hears_at_once_that_it_failed_here() {
    let function = function(true, &[]);
    let mut tokens = Tokens {
        admissions: [(1, 9)].into(),
        ..Tokens::default()
    };
    let mut failed = Failed::NONE;
    failed.add(0, 0);
    assert_eq!(
        decide(Some(&function), Origin::Peer(1), failed, &mut tokens),
        Decision::Refuse(Answer::Unavailable)
    );
    assert_eq!(tokens.admissions[&1], 9);
}

#[test]
fn answers_are_whole_responses_that_fit_their_map() {
    for (number, answer) in Answer::ALL.into_iter().enumerate() {
        assert_eq!(answer as usize, number);
        let response = answer.response();
        assert!(
            response.len() <= REPLY_BYTES,
            "{answer:?}: {} bytes",
            response.len()
        );
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut fields);
        assert!(parsed.parse(response.as_bytes()).unwrap().is_complete());
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .unwrap();
        assert_eq!(length.parse(), Ok(body.len()), "{answer:?}");
    }
}
