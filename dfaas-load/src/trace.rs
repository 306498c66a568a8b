//! Rates by time from a file: a CSV of seconds and requests a second.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::schedule::Phase;

/// Reads a trace: rows of `second,rate`, with or without a head; a rate holds until the next row's second, the last one as
/// long as the row before it, or for a second.
///
/// # Errors
///
/// When a row says no time or rate, seconds do not rise, or there is no row; with file and line.
pub(crate) fn read(file: &Path) -> Result<Vec<Phase>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    parse(&text).with_context(|| file.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Phase>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows: Vec<(f64, f64)> = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let is_head = index == 0 && record.iter().all(|field| field.parse::<f64>().is_err());
        if !is_head {
            rows.push(row(&record, rows.last()).with_context(|| format!("line {line}"))?);
        }
    }
    ensure!(
        !rows.is_empty(),
        "the trace is empty; a row is second,rate, such as 0,50"
    );
    ensure!(
        rows[0].0 == 0.0,
        "the first row is of second {}, not 0",
        rows[0].0
    );
    Ok(phases(&rows))
}

fn row(record: &csv::StringRecord, before: Option<&(f64, f64)>) -> Result<(f64, f64)> {
    ensure!(record.len() == 2, "{} columns, not second,rate", record.len());
    let number = |index: usize, name: &str| -> Result<f64> {
        let text = &record[index];
        let number: f64 = text
            .parse()
            .with_context(|| format!("{name} {text:?} is no number"))?;
        ensure!(
            number.is_finite() && number >= 0.0,
            "{name} {text}: give a number from 0"
        );
        Ok(number)
    };
    let (second, rate) = (number(0, "second")?, number(1, "rate")?);
    let last = before.map_or(f64::NEG_INFINITY, |row| row.0);
    ensure!(second > last, "second {second} does not come after second {last}");
    Ok((second, rate))
}

fn phases(rows: &[(f64, f64)]) -> Vec<Phase> {
    let last_seconds = match rows {
        [.., before, last] => last.0 - before.0,
        _ => 1.0,
    };
    let end = rows[rows.len() - 1].0 + last_seconds;
    let ends = rows.iter().skip(1).map(|row| row.0).chain([end]);
    rows.iter()
        .zip(ends)
        .map(|(&(begin, rate), end)| Phase::constant(end - begin, rate))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_until_the_next_row() {
        let phases = parse("second,rate\n0,10\n# comment\n5,20\n").unwrap();
        assert_eq!(phases, [Phase::constant(5.0, 10.0), Phase::constant(5.0, 20.0)]);
        assert_eq!(parse("0,3").unwrap(), [Phase::constant(1.0, 3.0)]);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, want) in [
            ("", "the trace is empty"),
            ("second,rate\n", "the trace is empty"),
            ("0,10\n1,-1\n", "line 2: rate -1: give a number from 0"),
            ("0,10\n1,NaN\n", "line 2: rate NaN: give a number from 0"),
            ("0,10\n1,x\n", "line 2: rate \"x\" is no number"),
            ("0,10\n0,11\n", "line 2: second 0 does not come after second 0"),
            ("1,10\n", "the first row is of second 1, not 0"),
            ("0,10,3\n", "line 1: 3 columns"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }
}
