//! The TCP options of a SYN that the data plane cares for (RFC 9293, section 3.2, and RFC 7323).

/// The most bytes of options that a TCP header holds.
pub const OPTIONS_BYTES: usize = 40;
/// The window scale that our SYN-ACK offers: 128 bytes a unit, as Linux itself chooses for buffers up to 8 MiB.
pub const OUR_WINDOW_SCALE: u8 = 7;
/// Says that no window scale was offered.
pub const NO_WINDOW_SCALE: u8 = 0xff;
/// The options that we write: maximum segment size, a no-operation, window scale.
pub const OUR_OPTIONS_BYTES: usize = 8;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;
/// RFC 7323, section 2.3: a larger shift is read as 14.
const WINDOW_SCALE_MAX: u8 = 14;
/// RFC 9293, section 3.7.1: what a sender assumes where the option is missing.
const DEFAULT_SEGMENT_SIZE: u16 = 536;

/// What a SYN said in its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size in bytes.
    pub segment_size: u16,
    /// Window scale, or [`NO_WINDOW_SCALE`].
    pub window_scale: u8,
}

impl SynOptions {
    /// Reads the first `length` bytes of a buffer whose size is a power of two, at least 64.
    ///
    /// Options that contradict their own lengths end the reading; what came before them counts.
    #[inline(always)]
    #[must_use]
    pub fn read<const N: usize>(bytes: &[u8; N], length: usize) -> Self {
        let mut options = Self {
            segment_size: DEFAULT_SEGMENT_SIZE,
            window_scale: NO_WINDOW_SCALE,
        };
        let length = if length > OPTIONS_BYTES {
            OPTIONS_BYTES
        } else {
            length
        };
        let mut at = 0usize;
        // Every turn but the last consumes at least one byte.
        let mut turn = 0;
        while turn < OPTIONS_BYTES {
            turn += 1;
            if at >= length {
                break;
            }
            let kind = bytes[at & (N - 1)];
            if kind == END {
                break;
            }
            if kind == NO_OPERATION {
                at += 1;
                continue;
            }
            let size = bytes[(at + 1) & (N - 1)] as usize;
            if size < 2 || at + size > length {
                break;
            }
            if kind == SEGMENT_SIZE && size == 4 {
                let high = bytes[(at + 2) & (N - 1)];
                let low = bytes[(at + 3) & (N - 1)];
                options.segment_size = u16::from_be_bytes([high, low]);
            }
            if kind == WINDOW_SCALE && size == 3 {
                let scale = bytes[(at + 2) & (N - 1)];
                options.window_scale = if scale > WINDOW_SCALE_MAX {
                    WINDOW_SCALE_MAX
                } else {
                    scale
                };
            }
            at += size;
        }
        options
    }

    /// The options as we write them; without a window scale its place is filled with no-operations.
    #[inline(always)]
    #[must_use]
    pub const fn write(&self) -> [u8; OUR_OPTIONS_BYTES] {
        let [high, low] = self.segment_size.to_be_bytes();
        if self.window_scale == NO_WINDOW_SCALE {
            return [
                SEGMENT_SIZE,
                4,
                high,
                low,
                NO_OPERATION,
                NO_OPERATION,
                NO_OPERATION,
                NO_OPERATION,
            ];
        }
        [
            SEGMENT_SIZE,
            4,
            high,
            low,
            NO_OPERATION,
            WINDOW_SCALE,
            3,
            self.window_scale,
        ]
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
        fn what_we_write_is_read_back(segment_size: u16, scale in prop_oneof![0u8..=14, Just(NO_WINDOW_SCALE)]) {
            let options = SynOptions { segment_size, window_scale: scale };
            let mut buffer = [0xee; 64];
            buffer[..OUR_OPTIONS_BYTES].copy_from_slice(&options.write());
            prop_assert_eq!(SynOptions::read(&buffer, OUR_OPTIONS_BYTES), options);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: [u8; 32], length in 0usize..64) {
            let mut buffer = [0; 64];
            buffer[..32].copy_from_slice(&bytes);
            let options = SynOptions::read(&buffer, length);
            prop_assert!(options.window_scale <= 14 || options.window_scale == NO_WINDOW_SCALE);
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], segment_size: u16, window_scale: u8) {
        let mut buffer = [0xee; 64];
        buffer[..bytes.len()].copy_from_slice(bytes);
        assert_eq!(
            SynOptions::read(&buffer, bytes.len()),
            SynOptions {
                segment_size,
                window_scale
            }
        );
    }
}
