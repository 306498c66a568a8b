//! The TCP options that the data plane cares for (RFC 9293, section 3.2, RFC 7323 and RFC 2018).

/// The most bytes of options that a TCP header holds.
pub const OPTIONS_BYTES: usize = 40;
/// The window scale that our SYN-ACK offers: 128 bytes a unit, as Linux itself chooses for buffers up to 8 MiB.
pub const OUR_WINDOW_SCALE: u8 = 7;
/// Says that no window scale was offered.
pub const NO_WINDOW_SCALE: u8 = 0xff;
/// The options that we write: maximum segment size, selective acknowledgments permitted, window scale.
pub const OUR_OPTIONS_BYTES: usize = 12;
/// How many blocks fit into an option of selective acknowledgments (RFC 2018, section 3).
pub const SACK_BLOCKS: u32 = 4;
/// Length of such a block in bytes.
pub const SACK_BLOCK_BYTES: u32 = 8;

/// RFC 7323, section 2.3: a larger shift is read as 14.
const WINDOW_SCALE_MAX: u8 = 14;
/// RFC 9293, section 3.7.1: what a sender assumes where the option is missing.
const DEFAULT_SEGMENT_SIZE: u16 = 536;

/// How many states the automaton can have. A state says what the last byte was.
const STATES: usize = 64;
/// The end of the options, or a length that contradicts itself; final.
const DONE: u8 = 0;
/// A no-operation, or the last byte of an option that nobody asks for.
const BOUNDARY: u8 = 1;
const SEGMENT_SIZE_HIGH: u8 = 2;
const SEGMENT_SIZE_LOW: u8 = 3;
const WINDOW_SCALE: u8 = 4;
const SEGMENT_SIZE_KIND: u8 = 5;
const SEGMENT_SIZE_LENGTH: u8 = 6;
const WINDOW_SCALE_KIND: u8 = 7;
const WINDOW_SCALE_LENGTH: u8 = 8;
const SACK_PERMITTED: u8 = 9;
const SACK_PERMITTED_KIND: u8 = 10;
const SACK_KIND: u8 = 11;
/// `OTHER + n`: n more bytes belong to an option that nobody asks for; `OTHER` is its kind.
const OTHER: u8 = 12;
/// The longest rest of an option behind kind and length.
const REST_MAX: u8 = OPTIONS_BYTES as u8 - 2;

/// The next state for a state and a byte: like the request's head, options are read without a branch on a byte.
static TABLE: [[u8; 256]; STATES] = build();

const fn build() -> [[u8; 256]; STATES] {
    let mut table = [[DONE; 256]; STATES];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        table[BOUNDARY as usize][byte] = kind(value);
        table[SEGMENT_SIZE_KIND as usize][byte] = if value == 4 {
            SEGMENT_SIZE_LENGTH
        } else {
            rest(value)
        };
        table[SEGMENT_SIZE_LENGTH as usize][byte] = SEGMENT_SIZE_HIGH;
        table[SEGMENT_SIZE_HIGH as usize][byte] = SEGMENT_SIZE_LOW;
        table[SEGMENT_SIZE_LOW as usize][byte] = kind(value);
        table[WINDOW_SCALE_KIND as usize][byte] = if value == 3 {
            WINDOW_SCALE_LENGTH
        } else {
            rest(value)
        };
        table[WINDOW_SCALE_LENGTH as usize][byte] = WINDOW_SCALE;
        table[WINDOW_SCALE as usize][byte] = kind(value);
        table[SACK_PERMITTED_KIND as usize][byte] = if value == 2 { SACK_PERMITTED } else { rest(value) };
        table[SACK_PERMITTED as usize][byte] = kind(value);
        table[SACK_KIND as usize][byte] = rest(value);
        table[OTHER as usize][byte] = rest(value);
        let mut left = 1;
        while left <= REST_MAX {
            table[(OTHER + left) as usize][byte] = if left == 1 { BOUNDARY } else { OTHER + left - 1 };
            left += 1;
        }
        byte += 1;
    }
    table
}

const fn kind(byte: u8) -> u8 {
    match byte {
        0 => DONE,
        1 => BOUNDARY,
        2 => SEGMENT_SIZE_KIND,
        3 => WINDOW_SCALE_KIND,
        4 => SACK_PERMITTED_KIND,
        5 => SACK_KIND,
        _ => OTHER,
    }
}

const fn rest(length: u8) -> u8 {
    match length {
        0 | 1 => DONE,
        2 => BOUNDARY,
        _ if length - 2 <= REST_MAX => OTHER + length - 2,
        _ => DONE,
    }
}

/// For each state, one more than the position at which it was entered last.
pub type OptionMarks = [u8; STATES];

/// What a SYN said in its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size in bytes.
    pub segment_size: u16,
    /// Window scale, or [`NO_WINDOW_SCALE`].
    pub window_scale: u8,
    /// Whether selective acknowledgments are permitted.
    pub permits_sack: bool,
}

impl SynOptions {
    /// Reads the first `length` bytes, at most [`OPTIONS_BYTES`].
    ///
    /// Options that contradict their own lengths end the reading; what came before them counts.
    #[inline(always)]
    #[must_use]
    pub fn read(bytes: &[u8; 64], length: usize, marks: &mut OptionMarks) -> Self {
        marks[SEGMENT_SIZE_LOW as usize] = 0;
        marks[WINDOW_SCALE as usize] = 0;
        marks[SACK_PERMITTED as usize] = 0;
        scan(bytes, length, marks);
        Self {
            segment_size: segment_size(bytes, marks),
            window_scale: window_scale(bytes, marks),
            permits_sack: marks[SACK_PERMITTED as usize] != 0,
        }
    }

    /// The options as we write them; without a window scale its place is filled with no-operations.
    #[inline(always)]
    #[must_use]
    pub const fn write(&self) -> [u8; OUR_OPTIONS_BYTES] {
        let [high, low] = self.segment_size.to_be_bytes();
        let [permitted, permitted_length] = if self.permits_sack { [4, 2] } else { [1, 1] };
        let [pad, scale, scale_length, shift] = if self.window_scale == NO_WINDOW_SCALE {
            [1, 1, 1, 1]
        } else {
            [1, 3, 3, self.window_scale]
        };
        [
            2,
            4,
            high,
            low,
            1,
            1,
            permitted,
            permitted_length,
            pad,
            scale,
            scale_length,
            shift,
        ]
    }
}

/// The blocks of selective acknowledgments among options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlocks {
    /// Where the first block begins.
    pub start: u32,
    /// How many there are, at most [`SACK_BLOCKS`]; 0 without the option.
    pub count: u32,
}

impl SackBlocks {
    /// Finds the blocks in the first `length` bytes, at most [`OPTIONS_BYTES`].
    #[inline(always)]
    #[must_use]
    pub fn find(bytes: &[u8; 64], length: usize, marks: &mut OptionMarks) -> Self {
        marks[SACK_KIND as usize] = 0;
        scan(bytes, length, marks);
        let behind_kind = marks[SACK_KIND as usize] as u32;
        if behind_kind == 0 {
            return Self { start: 0, count: 0 };
        }
        let option = bytes[behind_kind as usize & 63] as u32;
        let rest = option.wrapping_sub(2);
        let count = rest / SACK_BLOCK_BYTES;
        let start = behind_kind + 1;
        let is_whole = count <= SACK_BLOCKS && start + rest <= length as u32;
        Self {
            start,
            count: if is_whole { count } else { 0 },
        }
    }
}

#[inline(always)]
fn scan(bytes: &[u8; 64], length: usize, marks: &mut OptionMarks) {
    let mut state = BOUNDARY;
    let mut index = 0;
    while index < OPTIONS_BYTES {
        if index >= length {
            break;
        }
        state = TABLE[state as usize & (STATES - 1)][bytes[index] as usize];
        marks[state as usize & (STATES - 1)] = index as u8 + 1;
        index += 1;
    }
}

#[inline(always)]
fn segment_size(bytes: &[u8; 64], marks: &OptionMarks) -> u16 {
    let behind = marks[SEGMENT_SIZE_LOW as usize];
    if behind == 0 {
        return DEFAULT_SEGMENT_SIZE;
    }
    let high = bytes[behind.wrapping_sub(2) as usize & 63];
    let low = bytes[behind.wrapping_sub(1) as usize & 63];
    u16::from_be_bytes([high, low])
}

#[inline(always)]
fn window_scale(bytes: &[u8; 64], marks: &OptionMarks) -> u8 {
    let behind = marks[WINDOW_SCALE as usize];
    if behind == 0 {
        return NO_WINDOW_SCALE;
    }
    let scale = bytes[behind.wrapping_sub(1) as usize & 63];
    if scale > WINDOW_SCALE_MAX {
        WINDOW_SCALE_MAX
    } else {
        scale
    }
}

/// Translates a window field from the scale of who sent it to the scale that the receiver was promised.
///
/// A window that was open stays open: it is never rounded down to nothing.
#[inline(always)]
#[must_use]
pub const fn rescale_window(window: u16, from: u8, to: u8) -> u16 {
    let from = if from == NO_WINDOW_SCALE { 0 } else { from & 15 };
    let to = if to == NO_WINDOW_SCALE { 0 } else { to & 15 };
    let scaled = ((window as u32) << from) >> to;
    if scaled > 0xffff {
        0xffff
    } else if scaled == 0 && window > 0 {
        1
    } else {
        scaled as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_linux_syn_is_read() {
        check(
            &[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7],
            1_460,
            7,
        );
    }

    #[test]
    fn permitted_selective_acknowledgments_are_read() {
        let mut buffer = [0xee; 64];
        buffer[..8].copy_from_slice(&[2, 4, 5, 0xb4, 1, 1, 4, 2]);
        assert!(SynOptions::read(&buffer, 8, &mut [9; STATES]).permits_sack);
        assert!(!SynOptions::read(&buffer, 7, &mut [9; STATES]).permits_sack);
    }

    #[test]
    fn blocks_are_found() {
        let find = |options: &[u8]| {
            let mut buffer = [0xee; 64];
            buffer[..options.len()].copy_from_slice(options);
            SackBlocks::find(&buffer, options.len(), &mut [9; STATES])
        };
        assert_eq!(
            find(&[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            SackBlocks { start: 4, count: 1 }
        );
        assert_eq!(
            find(&[5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 1, 1]),
            SackBlocks { start: 2, count: 2 }
        );
        assert_eq!(find(&[1, 1, 1, 0]).count, 0);
        assert_eq!(find(&[]).count, 0);
        assert_eq!(find(&[1, 1, 5, 34, 0, 0, 0, 1, 0, 0, 0, 2]).count, 0, "cut short");
        assert_eq!(find(&[1, 1, 5, 1, 0, 0, 0, 1]).count, 0, "no length");
        assert_eq!(
            find(&[5, 11, 0, 0, 0, 1, 0, 0, 0, 2]).count,
            0,
            "a byte is missing"
        );
    }

    #[test]
    fn missing_options_have_defaults() {
        check(&[], 536, NO_WINDOW_SCALE);
        check(&[1, 1, 1, 0], 536, NO_WINDOW_SCALE);
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        check(&[0, 2, 4, 5, 0xb4], 536, NO_WINDOW_SCALE);
    }

    #[test]
    fn broken_lengths_end_the_reading() {
        check(&[2, 4, 5, 0xb4, 3, 0, 3, 3, 7], 1_460, NO_WINDOW_SCALE);
        check(&[2, 4, 5], 536, NO_WINDOW_SCALE);
        check(&[3], 536, NO_WINDOW_SCALE);
    }

    #[test]
    fn a_huge_scale_is_read_as_fourteen() {
        check(&[3, 3, 200], 536, 14);
    }

    #[test]
    fn windows_change_their_unit() {
        assert_eq!(rescale_window(512, 7, 7), 512);
        assert_eq!(rescale_window(512, 10, 7), 4_096);
        assert_eq!(rescale_window(512, 7, 10), 64);
        assert_eq!(rescale_window(1, 0, 7), 1);
        assert_eq!(rescale_window(0, 7, 0), 0);
        assert_eq!(rescale_window(0xffff, 14, NO_WINDOW_SCALE), 0xffff);
    }

    proptest! {
        #[test]
        fn what_we_write_is_read_back(segment_size: u16, permits_sack: bool, scale in prop_oneof![0u8..=14, Just(NO_WINDOW_SCALE)]) {
            let options = SynOptions { segment_size, window_scale: scale, permits_sack };
            let mut buffer = [0xee; 64];
            buffer[..OUR_OPTIONS_BYTES].copy_from_slice(&options.write());
            prop_assert_eq!(SynOptions::read(&buffer, OUR_OPTIONS_BYTES, &mut [9; STATES]), options);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: [u8; 32], length in 0usize..64) {
            let mut buffer = [0; 64];
            buffer[..32].copy_from_slice(&bytes);
            let options = SynOptions::read(&buffer, length, &mut [9; STATES]);
            prop_assert!(options.window_scale <= 14 || options.window_scale == NO_WINDOW_SCALE);
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], segment_size: u16, window_scale: u8) {
        let mut buffer = [0xee; 64];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let options = SynOptions::read(&buffer, bytes.len(), &mut [9; STATES]);
        assert_eq!(
            (options.segment_size, options.window_scale),
            (segment_size, window_scale)
        );
    }
}
