use proptest::prelude::*;

use super::*;

const PERIOD: Duration = Duration::from_secs(1);
const SAMPLE: Duration = Duration::from_millis(100);

#[test]
fn a_steady_load_is_measured_exactly() {
    let mut meter = Meter::default();
    for _ in 0..5 {
        feed(&mut meter, [5; 10]);
    }
    assert_eq!(meter.rate_rps(), 50.0);
}

#[test]
fn counting_noise_is_averaged_over_three_periods() {
    let mut meter = Meter::default();
    for extra in [0, 1, 0, 2, 0, 1] {
        feed(&mut meter, [5, 5, 5, 5, 5, 5, 5, 5, 5, 4 + extra]);
    }
    assert_eq!(meter.rate_rps(), 50.0);
}

#[test]
fn a_surge_is_seen_after_two_full_samples() {
    let mut meter = Meter::default();
    feed(&mut meter, [0; 10]);
    assert!(!sample(&mut meter, 2), "the load began within this sample");
    assert!(!sample(&mut meter, 5));
    assert!(sample(&mut meter, 5));
    assert_eq!(meter.rate_rps(), 50.0);
}

#[test]
fn a_surge_that_begins_within_a_sample_is_not_underestimated() {
    let mut meter = Meter::default();
    feed(&mut meter, [0; 10]);
    sample(&mut meter, 20);
    assert!(sample(&mut meter, 50));
    assert_eq!(meter.rate_rps(), 500.0);
}

#[test]
fn a_batch_is_not_a_surge() {
    let mut meter = Meter::default();
    for _ in 0..5 {
        assert!(!feed(&mut meter, [0, 0, 0, 100, 0, 0, 0, 0, 0, 0]));
    }
    assert_eq!(meter.rate_rps(), 100.0);
}

#[test]
fn a_batch_over_two_samples_misleads_once_in_three_periods() {
    let mut meter = Meter::default();
    feed(&mut meter, [0; 10]);
    let surges = (0..9)
        .filter(|_| feed(&mut meter, [0, 0, 50, 50, 0, 0, 0, 0, 0, 0]))
        .count();
    assert!(surges <= 3, "{surges} surges");
}

#[test]
fn a_load_that_ends_is_forgotten_after_two_periods() {
    let mut meter = Meter::default();
    for _ in 0..5 {
        feed(&mut meter, [5; 10]);
    }
    feed(&mut meter, [5, 5, 5, 5, 5, 0, 0, 0, 0, 0]);
    feed(&mut meter, [0; 10]);
    assert_eq!(meter.rate_rps(), 0.0);
}

#[test]
fn one_read_a_period_is_enough() {
    let mut meter = Meter::default();
    for count in [50, 50, 50, 10, 10] {
        meter.add(count);
        meter.close_sample(PERIOD, PERIOD);
        meter.close_period(PERIOD);
    }
    assert_eq!(meter.rate_rps(), 10.0);
}

proptest! {
    #[test]
    fn any_change_is_fully_seen_after_three_periods(before in 0u64..100, after in 0u64..100, at in 0usize..10) {
        let mut meter = Meter::default();
        for _ in 0..5 {
            feed(&mut meter, [before; 10]);
        }
        feed(&mut meter, std::array::from_fn(|i| if i < at { before } else { after }));
        for _ in 0..3 {
            feed(&mut meter, [after; 10]);
        }
        prop_assert_eq!(meter.rate_rps(), after as f64 * 10.0);
    }

    #[test]
    fn the_rate_is_never_more_than_was_ever_seen(counts in proptest::collection::vec(0u64..1000, 1..60)) {
        let mut meter = Meter::default();
        for (i, &count) in counts.iter().enumerate() {
            sample(&mut meter, count);
            if i % 10 == 9 {
                meter.close_period(PERIOD);
            }
        }
        let most = counts.iter().max().copied().unwrap_or(0) as f64 * 10.0;
        prop_assert!(meter.rate_rps() <= most + 1e-3);
    }
}

/// Feeds the ten samples of a period; tells whether one of them showed a surge.
fn feed(meter: &mut Meter, counts: [u64; 10]) -> bool {
    let surges = counts.into_iter().filter(|&count| sample(meter, count)).count();
    meter.close_period(PERIOD);
    surges > 0
}

fn sample(meter: &mut Meter, count: u64) -> bool {
    meter.add(count);
    meter.close_sample(SAMPLE, PERIOD)
}
