//! Following a response through a server's segment, past missing ones too, as far as it need not be read.

use super::{Response, Stage};

/// What a segment of a server is to the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It was followed without a look at its bytes, or was before.
    Followed,
    /// It has to be read.
    Unread,
    /// Something before it is missing that has to be read first.
    Early,
    /// Something before it is missing, and where the response ends is not known without it.
    Unframed,
}

/// What is known behind missing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// Where the response stands: they were of a body, or nobody follows it.
    Passed,
    /// Nothing, before they have come: they have to be read, or nobody asked for them.
    Needed,
    /// Nothing of where the response ends: there was a chunk's line among them.
    Unframed,
}

impl Response {
    /// Follows a segment of `length` bytes, at least 1, as far as that can be done without reading it.
    #[inline(always)]
    pub const fn pass(&mut self, sequence: u32, length: u32) -> Passage {
        let end = sequence.wrapping_add(length);
        if end.wrapping_sub(self.at) as i32 <= 0 {
            return Passage::Followed;
        }
        let missing = sequence.wrapping_sub(self.at);
        if missing as i32 > 0 {
            match self.skip(missing) {
                Gap::Passed => {}
                Gap::Needed => return Passage::Early,
                Gap::Unframed => return Passage::Unframed,
            }
        }
        let advance = end.wrapping_sub(self.at);
        let is_body = self.stage == Stage::Length as u8 || self.stage == Stage::ChunkData as u8;
        if is_body && advance as u64 <= self.left {
            self.follow_body(advance);
        } else if self.stage == Stage::Idle as u8 {
            self.note_surplus();
        } else if self.stage != Stage::Endless as u8 && self.stage != Stage::Unknown as u8 {
            return Passage::Unread;
        }
        self.at = end;
        Passage::Followed
    }

    /// Becomes what was made of it by reading on from this number. Returns whether all of that has been followed now, by
    /// this processor or by another.
    #[inline(always)]
    pub fn commit(&mut self, from: u32, read: &Self) -> bool {
        if self.at == from {
            *self = *read;
        }
        read.at.wrapping_sub(self.at) as i32 <= 0
    }

    /// Gives up following, behind a segment that ends at this number.
    #[inline(always)]
    pub const fn lose(&mut self, end: u32) {
        self.give_up();
        self.at = end;
    }

    /// Follows it past missing bytes, if it can be.
    #[inline(always)]
    const fn skip(&mut self, missing: u32) -> Gap {
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
    fn a_body_is_followed_without_a_look_at_it() {
        let mut response = at(Stage::Length, 100);
        let start = response.at;
        assert_eq!(response.pass(start, 60), Passage::Followed);
        assert_eq!(response.pass(start, 60), Passage::Followed, "sent again");
        assert_eq!(response.left, 40);
        assert_eq!(response.pass(start.wrapping_add(70), 30), Passage::Followed);
        assert_eq!(
            (response.stage(), response.at),
            (Stage::Idle, start.wrapping_add(100))
        );
    }

    #[test]
    fn what_has_to_be_read_is_said_to_be_unread() {
        for (stage, left) in [
            (Stage::Head, 0),
            (Stage::ChunkLine, 0),
            (Stage::Length, 4),
            (Stage::ChunkData, 4),
        ] {
            let mut response = at(stage, left);
            let before = response;
            assert_eq!(response.pass(before.at, 5), Passage::Unread);
            assert_eq!(response, before);
        }
    }

    #[test]
    fn behind_what_nobody_asked_for_nothing_follows() {
        let mut response = at(Stage::Idle, 0);
        assert!(!response.is_final());
        assert_eq!(response.pass(response.at, 5), Passage::Followed);
        assert!(response.has_surplus() && response.is_final() && response.is_last());
        assert_eq!(response.stage(), Stage::Idle);
    }

    #[test]
    fn what_another_processor_has_read_is_not_read_twice() {
        let before = at(Stage::Head, 0);
        let read = Response {
            at: before.at.wrapping_add(50),
            ..at(Stage::Idle, 0)
        };
        let mut response = before;
        assert!(response.commit(before.at, &read));
        assert_eq!(response, read);
        assert!(
            response.commit(before.at, &read),
            "the other one has read the same"
        );
        let longer = Response {
            at: read.at.wrapping_add(1),
            ..read
        };
        assert!(!response.commit(before.at, &longer), "or less");
        assert_eq!(response, read);
    }

    #[test]
    fn behind_what_was_lost_anything_may_come() {
        let mut response = at(Stage::ChunkLine, 0);
        let start = response.at;
        assert_eq!(response.pass(start.wrapping_add(5), 5), Passage::Unframed);
        response.lose(start.wrapping_add(10));
        assert_eq!(
            (response.stage(), response.at),
            (Stage::Unknown, start.wrapping_add(10))
        );
    }

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
