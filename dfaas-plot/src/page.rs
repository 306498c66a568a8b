//! One file of HTML that needs nothing beside it.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{Picture, svg};

const STYLE: &str = "body{font:17px/1.5 system-ui,sans-serif;max-width:1280px;margin:2em auto;padding:0 1em;color:#111;background:#fff}\
table{border-collapse:collapse;margin:1em 0}th,td{padding:.3em .7em;border-bottom:1px solid #bbb;text-align:right}\
th:first-child,td:first-child{text-align:left}figure{margin:1.5em 0}svg{max-width:100%;height:auto}\
figcaption{color:#444}pre{background:#f4f4f4;padding:1em;overflow-x:auto}";

/// A page that is being written.
#[derive(Debug, Clone)]
pub struct Page {
    html: String,
}

impl Page {
    /// An empty page with a title, which is its heading too.
    pub fn new(title: &str) -> Self {
        let title = escaped(title);
        Self {
            html: format!(
                // Without an icon of its own, a browser asks a server for one.
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<link rel=\"icon\" href=\"data:,\">\n\
                 <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            ),
        }
    }

    /// Adds a heading of the second order.
    pub fn heading(&mut self, text: &str) {
        let _infallible = writeln!(self.html, "<h2>{}</h2>", escaped(text));
    }

    /// Adds a text whose lines and columns stay as they are.
    pub fn text(&mut self, text: &str) {
        let _infallible = writeln!(self.html, "<pre>{}</pre>", escaped(text));
    }

    /// Adds a table.
    pub fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) {
        let row = |kind: &str, cells: &mut dyn Iterator<Item = &str>| {
            let cells: String = cells
                .map(|cell| format!("<{kind}>{}</{kind}>", escaped(cell)))
                .collect();
            format!("<tr>{cells}</tr>\n")
        };
        self.html += "<table>\n";
        self.html += &row("th", &mut heads.iter().copied());
        for cells in rows {
            self.html += &row("td", &mut cells.iter().map(String::as_str));
        }
        self.html += "</table>\n";
    }

    /// Adds a picture with what it tells.
    ///
    /// # Errors
    ///
    /// When it cannot be drawn.
    pub fn figure(&mut self, picture: &impl Picture, caption: &str) -> Result<()> {
        let svg = svg(picture)?;
        // The size is the page's to choose.
        let (width, height) = picture.size();
        let svg = svg.replacen(&format!("<svg width=\"{width}\" height=\"{height}\""), "<svg", 1);
        let caption = escaped(caption);
        let _infallible = writeln!(
            self.html,
            "<figure>\n{svg}\n<figcaption>{caption}</figcaption>\n</figure>"
        );
        Ok(())
    }

    /// The file's text.
    pub fn finish(self) -> String {
        self.html + "</body>\n</html>\n"
    }
}

/// What has a meaning in HTML stands for itself.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_no_markup() {
        let mut page = Page::new("a <b>");
        page.heading("<i>");
        page.text("x < y");
        page.table(&["<head>"], &[vec!["<script>".to_owned()]]);
        let html = page.finish();
        assert!(html.contains("<h1>a &lt;b&gt;</h1>"), "{html}");
        assert!(html.contains("<td>&lt;script&gt;</td>") && html.contains("<th>&lt;head&gt;</th>"));
        assert!(html.contains("<pre>x &lt; y</pre>") && html.contains("<h2>&lt;i&gt;</h2>"));
        assert!(html.ends_with("</body>\n</html>\n"));
    }
}
