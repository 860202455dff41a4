//! One page for a browser, complete in itself: charts, tables, filters, no network.
//!
//! The page is a frame, then the hosts as JSON in an island that grows line by line, then the script that draws them; so
//! it streams, and charts are counted where it is read. Three fences keep hostile banners out: the islands hold no
//! character that HTML knows, the script makes text nodes only, and the page's Content-Security-Policy runs nothing but
//! that script (by its SHA-256) and fetches nothing at all.

mod row;

use std::io;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use self::row::HostRow;
use super::ascii_json::write_island;
use super::json::{MetaView, SummaryView};
use super::{ReportMeta, Summary, Writer};
use crate::finding::HostRecord;

/// What the page looks like.
const STYLE: &str = include_str!("html/report.css");
/// What draws it.
const SCRIPT: &str = include_str!("html/report.js");
/// Its frame, up to the islands.
const FRAME: &str = include_str!("html/frame.html");

/// Writes one page.
#[derive(Debug)]
pub struct Html<W> {
    out: W,
    begun: bool,
    hosts_written: u64,
}

impl<W: io::Write> Html<W> {
    /// A page on `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: false, hosts_written: 0 }
    }
}

impl<W: io::Write> Writer for Html<W> {
    fn begin(&mut self, meta: &ReportMeta) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        write!(
            self.out,
            concat!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; ",
                "script-src '{}'; base-uri 'none'; form-action 'none'\">\n",
                "<meta name=\"referrer\" content=\"no-referrer\">\n",
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
                "<title>Pentora report</title>\n<style>{}</style>\n</head>\n{}"
            ),
            source(STYLE),
            source(SCRIPT),
            STYLE,
            FRAME,
        )?;
        self.out.write_all(b"<script type=\"application/json\" id=\"scan\">")?;
        write_island(&mut self.out, &MetaView::of(meta))?;
        self.out.write_all(b"</script>\n<script type=\"application/json\" id=\"hosts\">[\n")
    }

    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        if self.hosts_written > 0 {
            self.out.write_all(b",\n")?;
        }
        self.hosts_written += 1;
        write_island(&mut self.out, &HostRow::of(host))
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        self.out.write_all(b"\n]</script>\n<script type=\"application/json\" id=\"summary\">")?;
        write_island(&mut self.out, &SummaryView::of(summary))?;
        write!(self.out, "</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")?;
        self.out.flush()
    }
}

/// A source that a policy lets run: its SHA-256 (CSP level 3, section 2.3.1).
fn source(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(&Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, sample};

    fn render(hosts: &[HostRecord]) -> String {
        sample::report(Format::Html, hosts, &Summary::default())
    }

    #[test]
    fn the_page_fetches_nothing_and_makes_no_markup_of_words() {
        for text in [STYLE, SCRIPT, FRAME] {
            assert!(text.is_ascii());
            // A name, not an address.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for fetched in ["http://", "src=", "@import", "url(", "fetch(", "XMLHttp", "import(", "WebSocket", "<link"]
            {
                assert!(!text.contains(fetched), "{fetched}");
            }
            for markup in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "srcdoc"]
            {
                assert!(!text.contains(markup), "{markup}");
            }
        }
        // What would end the elements that hold them.
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--") && !STYLE.contains("</style"));
    }

    #[test]
    fn the_page_has_its_islands_and_one_script_that_runs() {
        let page = render(&[sample::host(), sample::rich_host()]);
        assert_eq!(page.matches("<script").count(), 4);
        assert_eq!(page.matches("<script>").count(), 1);
        let policy = page.split("script-src '").nth(1).unwrap().split('\'').next().unwrap();
        let script = page.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(policy, source(script));
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        assert!(page.contains(&format!("style-src '{}'", source(style))));
        let hosts = page.split("id=\"hosts\">").nth(1).unwrap().split("</script>").next().unwrap();
        let hosts: serde_json::Value = serde_json::from_str(hosts).unwrap();
        assert_eq!(hosts[1]["p"][0]["v"]["product"], "OpenSSH");
        assert_eq!(hosts.as_array().unwrap().len(), 2);
        assert_eq!(hosts[1].get("f"), None);
        let none = render(&[]);
        let hosts = none.split("id=\"hosts\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(hosts).unwrap(), serde_json::json!([]));
    }
    #[test]
    fn a_host_that_is_likely_to_lack_ports_is_marked_with_the_share() {
        let page = render(&[HostRecord { likely_found_permille: Some(430), ..sample::host() }]);
        let hosts = page.split("id=\"hosts\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(hosts).unwrap()[0]["f"], 0.43);
        assert!(SCRIPT.contains("host.f !== undefined ? el(\"p\", { class: \"notice\" }, lacks(host))"), "drawn");
    }
}
