//! Following a response past bytes that are missing.

use super::{Response, Stage};

/// What is known behind missing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Where the response stands: they were of a body, or nobody follows it.
    Passed,
    /// Nothing, before they have come: they have to be read, or nobody asked for them.
    Needed,
    /// Nothing of where the response ends: there was a chunk's line among them.
    Unframed,
}

impl Response {
    /// Follows it past missing bytes, if it can be.
    #[inline(always)]
    #[must_use]
    pub const fn skip(&mut self, missing: u32) -> Gap {
        let stage = self.stage;
        if stage == Stage::Head as u8 || stage == Stage::Idle as u8 {
            return Gap::Needed;
        }
        if stage == Stage::Length as u8 || stage == Stage::ChunkData as u8 {
            if missing as u64 > self.left {
                return if stage == Stage::Length as u8 {
                    Gap::Needed
                } else {
                    Gap::Unframed
                };
            }
            self.follow_body(missing);
        } else if stage == Stage::ChunkLine as u8 {
            return Gap::Unframed;
        }
        self.at = self.at.wrapping_add(missing);
        Gap::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{CHUNK_LINE_BYTES, ChunkLine};

    #[test]
    fn a_body_goes_on_behind_what_is_missing() {
        check(Stage::Length, 100, 99, Gap::Passed, (Stage::Length, 1));
        check(Stage::Length, 100, 100, Gap::Passed, (Stage::Idle, 0));
        check(Stage::ChunkData, 100, 99, Gap::Passed, (Stage::ChunkData, 1));
    }

    #[test]
    fn the_line_behind_a_chunk_is_read_though_the_chunks_end_is_missing() {
        let mut response = at(Stage::ChunkData, 100);
        assert_eq!(response.skip(100), Gap::Passed);
        assert_eq!(response.stage(), Stage::ChunkLine);
        for text in [&b"\r\n0\r\n"[..], b"\r\n"] {
            let mut line = ChunkLine([0; CHUNK_LINE_BYTES]);
            line.0[..text.len()].copy_from_slice(text);
            let read = response.follow_chunk_line(&line, text.len());
            assert_eq!(read as usize, text.len());
        }
        assert_eq!(response.stage(), Stage::Idle);
    }

    #[test]
    fn what_has_to_be_read_is_waited_for() {
        check(Stage::Head, 0, 1, Gap::Needed, (Stage::Head, 0));
        check(Stage::Idle, 0, 1, Gap::Needed, (Stage::Idle, 0));
        check(Stage::Length, 100, 101, Gap::Needed, (Stage::Length, 100));
    }

    #[test]
    fn a_missing_line_of_a_chunk_hides_the_end() {
        check(Stage::ChunkData, 100, 101, Gap::Unframed, (Stage::ChunkData, 100));
        check(Stage::ChunkLine, 0, 1, Gap::Unframed, (Stage::ChunkLine, 0));
    }

    #[test]
    fn what_nobody_follows_goes_on() {
        check(Stage::Endless, 0, 1, Gap::Passed, (Stage::Endless, 0));
        check(Stage::Unknown, 0, 1, Gap::Passed, (Stage::Unknown, 0));
    }

    #[track_caller]
    fn check(stage: Stage, left: u64, missing: u32, want: Gap, (want_stage, want_left): (Stage, u64)) {
        let mut response = at(stage, left);
        assert_eq!(response.skip(missing), want);
        assert_eq!((response.stage(), response.left), (want_stage, want_left));
        let advance = if want == Gap::Passed { missing } else { 0 };
        assert_eq!(response.at, (u32::MAX - 10).wrapping_add(advance));
    }

    fn at(stage: Stage, left: u64) -> Response {
        Response {
            left,
            at: u32::MAX - 10,
            stage: stage as u8,
            ..Response::default()
        }
    }
}
