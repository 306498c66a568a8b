//! One HTML file with numbers and pictures, which needs nothing beside it.

use std::path::Path;

use anyhow::{Context as _, Result};
use dfaas_plot::Page;

use crate::{
    plot::{self, Kind, Seconds},
    sample::Sample,
    summary::Summary,
};

/// Writes a report of results.
///
/// # Errors
///
/// When it cannot be drawn, or the file cannot be written.
pub(crate) fn write(file: &Path, title: &str, samples: &[Sample]) -> Result<()> {
    std::fs::write(file, html(title, samples)?).with_context(|| format!("writing {}", file.display()))
}

fn html(title: &str, samples: &[Sample]) -> Result<String> {
    let mut page = Page::new(title);
    page.text(&Summary::of(samples).to_string());
    for kind in Kind::ALL {
        // What no result has (such as who served) is left out.
        if let Ok(lines) = plot::lines(kind, Seconds::Due, samples) {
            page.figure(&lines, kind.tells())?;
        }
    }
    Ok(page.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::samples;

    #[test]
    fn a_report_has_numbers_and_pictures_and_no_markup_of_others() {
        let mut all = samples(&[(200, 10), (503, 20)]);
        all[0].target = "<script>".to_owned();
        let html = html("a <b>", &all).unwrap();
        assert_eq!(html.matches("<svg").count(), 4);
        assert!(
            html.contains("<h1>a &lt;b&gt;</h1>") && !html.contains("<script>"),
            "{html}"
        );
        assert!(
            !html.contains("src=") && !html.replace("href=\"data:,\"", "").contains("href="),
            "it needs nothing beside it"
        );
    }

    #[test]
    fn what_no_result_has_is_left_out() {
        let html = html("lost", &samples(&[(0, 10)])).unwrap();
        assert_eq!(html.matches("<svg").count(), 1);
    }
}
