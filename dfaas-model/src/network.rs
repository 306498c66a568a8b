//! One way of a network: packets come after a while, or twice, or late, or in parts, or never.

use crate::{
    MILLISECOND, Micros,
    script::Network,
    segment::{ACK, FIN, PSH, RST, SYN, Segment},
};

/// The largest packet that is made of several, in bytes of payload: what a frame of `BPF_PROG_TEST_RUN` holds.
const MERGED_MAX: usize = 2_900;
/// In a run no more are lost than these: each server may be asked again so often that none can be given up.
const LOSSES_MAX: u32 = 4;

/// What can happen to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It never comes.
    Lost,
    /// It comes twice, the second time after so many microseconds.
    Doubled(Micros),
    /// It comes so much later.
    Late(Micros),
    /// It comes in two parts, the first having so many thousandths of it.
    Cut(u32),
    /// It comes with the one before it.
    Merged,
}

/// What happens to a packet: the `number`-th on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mishap {
    /// The link.
    pub link: u32,
    /// Which packet of that link.
    pub number: u32,
    /// What happens.
    pub kind: Kind,
}

impl Mishap {
    /// Whether it costs somebody a retransmission, perhaps.
    #[must_use]
    pub fn is_harmful(&self) -> bool {
        match self.kind {
            Kind::Lost | Kind::Late(_) | Kind::Doubled(_) => true,
            Kind::Cut(_) | Kind::Merged => false,
        }
    }
}

/// What decides about mishaps.
#[derive(Debug)]
pub struct Fate {
    seed: u64,
    given: Option<Vec<Mishap>>,
    /// What happened.
    pub happened: Vec<Mishap>,
    losses: u32,
}

impl Fate {
    /// Mishaps by chance, or those that are given.
    #[must_use]
    pub fn new(seed: u64, given: Option<Vec<Mishap>>) -> Self {
        Self {
            seed,
            given,
            happened: Vec::new(),
            losses: 0,
        }
    }

    fn of(&mut self, link: u32, number: u32, network: &Network) -> Option<Kind> {
        let kind = if let Some(given) = &self.given {
            let found = given
                .iter()
                .find(|mishap| mishap.link == link && mishap.number == number);
            found.map(|mishap| mishap.kind)
        } else {
            let place = u64::from(link) << 32 | u64::from(number);
            let mut random = fastrand::Rng::with_seed(self.seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            draw(&mut random, network)
        };
        let kind = kind.filter(|kind| *kind != Kind::Lost || self.losses < LOSSES_MAX)?;
        self.losses += u32::from(kind == Kind::Lost);
        self.happened.push(Mishap { link, number, kind });
        Some(kind)
    }
}

fn draw(random: &mut fastrand::Rng, network: &Network) -> Option<Kind> {
    let mut left = random.u32(0..1_000);
    let later = random.u64(1..30 * MILLISECOND);
    let place = random.u32(1..1_000);
    let kinds = [
        (network.lost, Kind::Lost),
        (network.doubled, Kind::Doubled(later)),
        (network.late, Kind::Late(later)),
        (network.cut, Kind::Cut(place)),
        (network.merged, Kind::Merged),
    ];
    for (share, kind) in kinds {
        if left < share {
            return Some(kind);
        }
        left -= share;
    }
    None
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub struct Travelling {
    /// When it comes.
    pub at: Micros,
    /// What it is.
    pub segment: Segment,
}

/// One way of a network.
#[derive(Debug)]
pub struct Link {
    number: u32,
    network: Network,
    sent: u32,
    underway: Vec<Travelling>,
    /// No packet that is in order comes before this.
    last: Micros,
}

impl Link {
    /// A link, whose number is nobody else's in the run.
    #[must_use]
    pub fn new(number: u32, network: Network) -> Self {
        Self {
            number,
            network,
            sent: 0,
            underway: Vec::new(),
            last: 0,
        }
    }

    /// Sends a packet. Returns what happens to it.
    pub fn send(&mut self, now: Micros, segment: &Segment, fate: &mut Fate) -> Option<Kind> {
        let kind = fate.of(self.number, self.sent, &self.network);
        self.sent += 1;
        // Nothing overtakes what has the same delay.
        let at = (now + self.network.delay).max(self.last + 1);
        match kind {
            None => self.add(at, segment.clone()),
            Some(Kind::Lost) => {}
            Some(Kind::Doubled(later)) => {
                self.add(at, segment.clone());
                self.underway.push(Travelling {
                    at: at + later,
                    segment: segment.clone(),
                });
            }
            Some(Kind::Late(later)) => self.underway.push(Travelling {
                at: at + later,
                segment: segment.clone(),
            }),
            Some(Kind::Cut(place)) => {
                let (first, second) = cut(segment, place);
                self.add(at, first);
                if let Some(second) = second {
                    self.add(at + 1, second);
                }
            }
            Some(Kind::Merged) => {
                if !self.merge(segment) {
                    self.add(at, segment.clone());
                }
            }
        }
        kind
    }

    fn add(&mut self, at: Micros, segment: Segment) {
        self.last = at;
        self.underway.push(Travelling { at, segment });
    }

    /// Appends a segment to the one before it, if that is still on its way, as receive offload does.
    fn merge(&mut self, segment: &Segment) -> bool {
        let last = self.last;
        let Some(before) = self.underway.iter_mut().find(|before| before.at == last) else {
            return false;
        };
        let before = &mut before.segment;
        let plain = |segment: &Segment| {
            !segment.has(SYN | RST) && segment.has(ACK) && segment.options.sacks.is_empty()
        };
        let fits = (before.from, before.to) == (segment.from, segment.to)
            && before.end() == segment.sequence
            && before.acknowledgment == segment.acknowledgment
            && !before.payload.is_empty()
            && !segment.payload.is_empty()
            && !before.has(FIN)
            && before.payload.len() + segment.payload.len() <= MERGED_MAX;
        if !fits || !plain(before) || !plain(segment) {
            return false;
        }
        before.flags |= segment.flags;
        before.payload.extend_from_slice(&segment.payload);
        true
    }

    /// When the next packet comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.underway.iter().map(|packet| packet.at).min()
    }

    /// Takes what has come.
    pub fn take(&mut self, now: Micros) -> Vec<Segment> {
        let (mut due, rest): (Vec<_>, Vec<_>) = self.underway.drain(..).partition(|packet| packet.at <= now);
        self.underway = rest;
        due.sort_by_key(|packet| packet.at);
        due.into_iter().map(|packet| packet.segment).collect()
    }
}

fn cut(segment: &Segment, place: u32) -> (Segment, Option<Segment>) {
    let length = segment.payload.len();
    if length < 2 || segment.has(SYN) {
        return (segment.clone(), None);
    }
    let at = (length * place as usize / 1_000).clamp(1, length - 1);
    let mut first = segment.clone();
    let mut second = segment.clone();
    second.payload = first.payload.split_off(at);
    second.sequence = segment.sequence.wrapping_add(at as u32);
    first.flags &= !(FIN | PSH);
    (first, Some(second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{End, Options};

    #[test]
    fn parts_of_a_segment_are_the_whole() {
        let end = |port| End {
            address: [10, 0, 0, 1],
            port,
        };
        let whole = Segment {
            from: end(1),
            to: end(2),
            sequence: u32::MAX - 3,
            acknowledgment: 7,
            flags: ACK | PSH | FIN,
            window: 5,
            options: Options::default(),
            payload: (0..100).collect(),
        };
        for place in [1, 500, 999] {
            let (first, second) = cut(&whole, place);
            let second = second.unwrap();
            assert_eq!(first.end(), second.sequence);
            assert!(!first.has(FIN) && second.has(FIN));
            let mut link = Link::new(0, Network::default());
            let mut fate = Fate::new(
                0,
                Some(vec![Mishap {
                    link: 0,
                    number: 1,
                    kind: Kind::Merged,
                }]),
            );
            link.send(0, &first, &mut fate);
            link.send(0, &second, &mut fate);
            assert_eq!(link.take(10), std::slice::from_ref(&whole));
        }
    }
}
