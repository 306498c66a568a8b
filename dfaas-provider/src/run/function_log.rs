//! The last lines a function wrote, and those it is about to write.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::broadcast;

use crate::clock;

/// With the limit on a line this bounds a function's log to 4 MiB.
const LINES_MAX: usize = 1000;
const LINE_BYTES_MAX: usize = 4096;

/// A follower that falls further behind than this misses lines.
const LIVE_LINES_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) timestamp: Timestamp,
    pub(crate) instance: String,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct FunctionLog {
    lines: Mutex<VecDeque<Arc<Line>>>,
    live: broadcast::Sender<Arc<Line>>,
}

impl FunctionLog {
    pub(crate) fn new() -> Self {
        Self {
            lines: Mutex::default(),
            live: broadcast::Sender::new(LIVE_LINES_MAX),
        }
    }

    /// Adds a line; `instance` is the process it is about.
    pub(crate) fn push(&self, instance: u32, text: impl Into<String>) {
        let mut text = text.into();
        if text.len() > LINE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
        }
        let line = Arc::new(Line {
            timestamp: clock::timestamp(),
            instance: instance.to_string(),
            text,
        });
        let mut lines = self.lock();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(Arc::clone(&line));
        // Nobody following is no error.
        let _ = self.live.send(line);
    }

    /// The last `tail` lines since a point in time, and a feed of the lines after those.
    pub(crate) fn read(
        &self,
        since: Option<Timestamp>,
        tail: usize,
    ) -> (Vec<Arc<Line>>, broadcast::Receiver<Arc<Line>>) {
        let lines = self.lock();
        let recent = lines
            .iter()
            .filter(|line| since.is_none_or(|since| line.timestamp >= since));
        let mut kept: Vec<_> = recent.rev().take(tail).cloned().collect();
        kept.reverse();
        (kept, self.live.subscribe())
    }

    /// Adds what a process writes, line by line, until it closes its end. Long lines are cut into several.
    pub(crate) async fn copy(
        &self,
        instance: u32,
        prefix: &str,
        output: impl AsyncRead + Unpin,
    ) -> io::Result<()> {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while (&mut output)
            .take(LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line)
            .await?
            > 0
        {
            let text = String::from_utf8_lossy(&line);
            self.push(instance, format!("{prefix}{}", text.trim_end_matches('\n')));
            line.clear();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_first() {
        let log = FunctionLog::new();
        for at in 0..LINES_MAX + 2 {
            log.push(1, at.to_string());
        }
        let (lines, _) = log.read(None, usize::MAX);
        assert_eq!((lines.len(), lines[0].text.as_str()), (LINES_MAX, "2"));
    }

    #[test]
    fn tail_takes_the_last_lines_in_order() {
        let log = FunctionLog::new();
        ["a", "b", "c"].iter().for_each(|text| log.push(1, *text));
        let (lines, _) = log.read(None, 2);
        assert_eq!(
            lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(),
            ["b", "c"]
        );
        assert!(log.read(Some(Timestamp::MAX), 2).0.is_empty());
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let log = FunctionLog::new();
        log.push(1, "é".repeat(LINE_BYTES_MAX));
        assert_eq!(log.read(None, 1).0[0].text.len(), LINE_BYTES_MAX);
    }

    #[tokio::test]
    async fn output_is_cut_into_lines() {
        let log = FunctionLog::new();
        let output = format!("a\n{}\nb", "x".repeat(LINE_BYTES_MAX + 1));
        log.copy(1, "> ", output.as_bytes()).await.unwrap();
        let (lines, _) = log.read(None, 9);
        assert_eq!(
            lines.iter().map(|line| line.text.len()).collect::<Vec<_>>(),
            [3, LINE_BYTES_MAX, 3, 3]
        );
    }

    #[test]
    fn followers_get_what_comes_after() {
        let log = FunctionLog::new();
        let (_, mut live) = log.read(None, 0);
        log.push(7, "next");
        assert_eq!(live.try_recv().unwrap().instance, "7");
    }
}
