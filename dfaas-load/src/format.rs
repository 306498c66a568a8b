//! Results as files: those of vegeta, k6 and hey, so that tools for these work with ours and the other way round.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read as _, Write},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

use crate::sample::Sample;

mod hey;
mod k6;
mod vegeta;

/// A format of results.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A JSON object a line, as `vegeta encode --to json` writes it
    VegetaJson,
    /// As `vegeta encode --to csv` writes it
    VegetaCsv,
    /// As `k6 run --out csv=FILE` writes it: its http_reqs, http_req_duration and http_req_failed
    K6Csv,
    /// As `hey -o csv` writes it: answered requests only, without target and server
    HeyCsv,
}

/// Writes results one by one.
pub(crate) struct Writer<W: Write> {
    format: Format,
    out: W,
    /// When the first request was due, in nanoseconds since 1970; hey's times count from there.
    begin: Option<i128>,
}

impl Format {
    /// The format of a file's first bytes.
    fn of(text: &str) -> Option<Self> {
        let first = text.lines().next()?;
        if first.starts_with('{') {
            Some(Self::VegetaJson)
        } else if first.starts_with("metric_name,") {
            Some(Self::K6Csv)
        } else if first.starts_with("response-time,") {
            Some(Self::HeyCsv)
        } else if first.split(',').count() >= vegeta::COLUMNS_MIN
            && first.starts_with(|c: char| c.is_ascii_digit())
        {
            Some(Self::VegetaCsv)
        } else {
            None
        }
    }
}

/// Reads results of any of the formats, in the order in which they were due.
///
/// # Errors
///
/// When the file cannot be read, is of no known format, or has a bad row (with its line).
pub(crate) fn read(file: &Path) -> Result<Vec<Sample>> {
    let mut text = String::new();
    let context = || format!("reading {}", file.display());
    BufReader::new(File::open(file).with_context(context)?)
        .read_to_string(&mut text)
        .with_context(context)?;
    parse(&text).with_context(|| file.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Sample>> {
    let mut samples = match Format::of(text) {
        Some(Format::VegetaJson) => vegeta::read_json(text)?,
        Some(Format::VegetaCsv) => vegeta::read_csv(text)?,
        Some(Format::K6Csv) => k6::read(text)?,
        Some(Format::HeyCsv) => hey::read(text)?,
        None if text.trim().is_empty() => bail!("the file is empty"),
        None => bail!("neither JSON or CSV of vegeta (vegeta encode), nor CSV of k6 or hey"),
    };
    samples.sort_by_key(|sample| sample.due);
    Ok(samples)
}

impl<W: Write> Writer<W> {
    /// Begins with the format's head, if it has one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn begin(format: Format, mut out: W) -> Result<Self> {
        match format {
            Format::VegetaJson | Format::VegetaCsv => {}
            Format::K6Csv => writeln!(out, "{}", k6::HEAD)?,
            Format::HeyCsv => writeln!(out, "{}", hey::HEAD)?,
        }
        Ok(Self {
            format,
            out,
            begin: None,
        })
    }

    /// Writes a result.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(&mut self, sample: &Sample) -> Result<()> {
        let due = sample.due.as_nanosecond();
        let begin = *self.begin.get_or_insert(due);
        let text = match self.format {
            Format::VegetaJson => vegeta::json(sample)?,
            Format::VegetaCsv => vegeta::csv(sample)?,
            Format::K6Csv => k6::rows(sample)?,
            Format::HeyCsv => hey::row(sample, due - begin),
        };
        self.out.write_all(text.as_bytes()).context("writing results")
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// When what is left cannot be written.
    pub(crate) fn end(mut self) -> Result<()> {
        self.out.flush().context("writing results")
    }
}

/// Opens a file for results, or standard output for `-`.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn create(file: &Path) -> Result<Box<dyn Write>> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdout().lock()));
    }
    let file = File::create(file).with_context(|| format!("writing {}", file.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

/// A row of CSV, with its end.
fn csv_row<I: AsRef<[u8]>>(fields: impl IntoIterator<Item = I>) -> Result<String> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(fields)?;
    String::from_utf8(writer.into_inner()?).context("a row of text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::samples;

    #[test]
    fn vegetas_json_loses_nothing_but_the_targets_name() {
        check(Format::VegetaJson, |_| {});
        check(Format::VegetaCsv, |_| {});
    }

    #[test]
    fn k6_has_no_text_of_errors_but_ours() {
        check(Format::K6Csv, |sample| {
            sample.bytes_in = 0;
            sample.bytes_out = 0;
        });
    }

    #[test]
    fn hey_keeps_times_and_codes_of_answers() {
        let all = samples(&[(200, 10), (0, 20), (503, 30)]);
        let read = parse(&write(Format::HeyCsv, &all)).unwrap();
        let seen: Vec<_> = read
            .iter()
            .map(|sample| (sample.code, sample.latency.as_millis()))
            .collect();
        assert_eq!(seen, [(200, 10), (503, 30)]);
        let distance = read[1].due.duration_since(read[0].due);
        assert_eq!(distance.as_millis(), 200);
    }

    #[test]
    fn what_is_of_no_format_is_said() {
        for (text, want) in [
            ("", "the file is empty"),
            ("hello\n", "neither JSON or CSV of vegeta"),
            ("{\"code\": 200}\n", "line 1: "),
            (
                "metric_name,timestamp\nhttp_req_duration,x\n",
                "no column metric_value",
            ),
            (
                "response-time,status-code,offset\n0.1,200,-\n",
                "line 2: offset \"-\"",
            ),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }

    /// Writes and reads; `lose` does to samples what the format loses.
    #[track_caller]
    fn check(format: Format, lose: impl Fn(&mut Sample)) {
        let mut want = samples(&[(200, 12), (429, 3), (0, 5000)]);
        let text = write(format, &want);
        assert_eq!(Format::of(&text), Some(format));
        want.iter_mut().for_each(lose);
        assert_eq!(parse(&text).unwrap(), want, "{text}");
    }

    fn write(format: Format, samples: &[Sample]) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::begin(format, &mut out).unwrap();
        for sample in samples {
            writer.write(sample).unwrap();
        }
        writer.end().unwrap();
        String::from_utf8(out).unwrap()
    }
}
