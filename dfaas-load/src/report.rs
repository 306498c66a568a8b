//! One HTML file with numbers and pictures, which needs nothing beside it.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{
    plot::{self, Kind, Seconds},
    sample::Sample,
    summary::Summary,
};

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:1240px;margin:2em auto;padding:0 1em;color:#111}\
svg{max-width:100%;height:auto}pre{background:#f4f4f4;padding:1em;overflow-x:auto}";

/// Writes a report of results.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn write(file: &Path, title: &str, samples: &[Sample]) -> Result<()> {
    let html = html(title, samples);
    std::fs::write(file, html).with_context(|| format!("writing {}", file.display()))
}

fn html(title: &str, samples: &[Sample]) -> String {
    let title = escape(title);
    let summary = escape(&Summary::of(samples).to_string());
    let pictures: String = Kind::ALL
        .into_iter()
        // What no result has (such as who served) is left out.
        .filter_map(|kind| plot::svg(kind, Seconds::Due, samples).ok())
        .map(|svg| format!("<figure>{svg}</figure>\n"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n<pre>{summary}</pre>\n{pictures}</body></html>\n"
    )
}

/// Text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::samples;

    #[test]
    fn a_report_has_numbers_and_pictures_and_no_markup_of_others() {
        let mut all = samples(&[(200, 10), (503, 20)]);
        all[0].target = "<script>".to_owned();
        let html = html("a <b>", &all);
        assert_eq!(html.matches("<svg").count(), 4);
        assert!(
            html.contains("<h1>a &lt;b&gt;</h1>") && !html.contains("<script>"),
            "{html}"
        );
        assert!(
            !html.contains("src=") && !html.contains("href="),
            "it needs nothing beside it"
        );
    }

    #[test]
    fn what_no_result_has_is_left_out() {
        let html = html("lost", &samples(&[(0, 10)]));
        assert_eq!(html.matches("<svg").count(), 1);
    }
}
