//! What an HTML page says of itself: title, generator, icon, and whether it asks for a password.
//!
//! Not a parser of HTML: tags and attributes are looked for in the text, which is what is needed and cannot be led far.

use super::charset::decode;
use super::entities::{unescape, unescape_attribute};
use super::markup::{Tags, without_comments};

/// Longest text that is kept.
const TEXT_MAX: usize = 256;

/// A page's words about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Text of `<title>`, spaces joined.
    pub title: Option<String>,
    /// `<meta name="generator">`.
    pub generator: Option<String>,
    /// Where `<link rel="icon">` points.
    pub icon: Option<String>,
    /// Whether there is a field for a password.
    pub asks_password: bool,
}

/// Elements whose content is no page: whatever looks like a tag in them is none, or is not the page's own.
const OPAQUE: [&str; 12] = [
    "plaintext",
    "script",
    "style",
    "svg",
    "math",
    "textarea",
    "template",
    "iframe",
    "xmp",
    "noembed",
    "noframes",
    "noscript",
];

/// Reads a page, which came with this `Content-Type`.
#[must_use]
pub fn read_page(body: &[u8], content_type: Option<&str>) -> Page {
    let text = decode(body, content_type);
    let text = without_comments(&text);
    // Lower case of ASCII only, so that positions are the same in both.
    let lower = text.to_ascii_lowercase();
    let mut page = Page { title: title(&text, &lower), ..Page::default() };
    page.generator = generator(&text, &lower);
    for (at, _) in lower.match_indices('<') {
        // A tag ends before the next one begins, so that each byte is looked at in one tag only.
        let Some(tag) = lower.get(at..).and_then(|rest| rest.get(..=rest.get(1..)?.find(['<', '>'])?)) else { break };
        let original = text.get(at..at + tag.len()).unwrap_or_default();
        if tag.starts_with("<link") && page.icon.is_none() {
            let rel = attribute(tag, tag, "rel").unwrap_or_default();
            if rel.split_ascii_whitespace().any(|word| word == "icon") {
                page.icon = attribute(tag, original, "href").filter(|href| !href.is_empty());
            }
        }
    }
    page.asks_password = is_markup(content_type) && asks_password(&lower);
    page
}

/// Whether what came is shown as a page, as far as its type says.
fn is_markup(content_type: Option<&str>) -> bool {
    let name = content_type.and_then(|text| text.split(';').next()).map(|name| name.trim().to_ascii_lowercase());
    name.is_none_or(|name| name.is_empty() || name.contains("html") || name.contains("xml"))
}

/// Whether there is a field for a password, which in a script is none.
fn asks_password(lower: &str) -> bool {
    Tags::of(lower).any(|tag| {
        let text = lower.get(tag.place.clone()).unwrap_or_default().trim_end_matches('>');
        tag.name == "input" && attribute(text, text, "type").as_deref() == Some("password")
    })
}

/// What the page was made with: the first such tag that is none in a script, a field of a form or another text.
fn generator(text: &str, lower: &str) -> Option<String> {
    let found = Tags::of(lower).filter(|tag| tag.name == "meta").find_map(|tag| {
        let own = lower.get(tag.place.clone())?.trim_end_matches('>');
        let is_it = attribute(own, own, "name").as_deref() == Some("generator");
        is_it.then(|| attribute(own, text.get(tag.place)?.trim_end_matches('>'), "content")).flatten()
    });
    found.filter(|text| !text.is_empty())
}

/// The first title that is the page's own.
fn title(text: &str, lower: &str) -> Option<String> {
    let mut tags = Tags::of(lower);
    while let Some(tag) = tags.next() {
        if tag.name == "title" {
            return title_at(text, lower, tag.place.end);
        }
        // An image without content is none that has any.
        let is_empty = tag.is_closed && matches!(tag.name, "svg" | "math");
        // Without its end an element is what it seems: the page may be cut there.
        if OPAQUE.contains(&tag.name) && !is_empty && !tags.skip_to_end_of(tag.name) {
            return None;
        }
    }
    None
}

/// The title whose text begins there.
fn title_at(text: &str, lower: &str, from: usize) -> Option<String> {
    let to = from + lower.get(from..)?.find("</title").unwrap_or(TEXT_MAX * 4);
    // A title without an end is cut off where a character ends.
    let to = (0..=to.min(text.len())).rev().find(|to| text.is_char_boundary(*to))?;
    let plain = unescape(text.get(from..to)?);
    // As feeds have it, which are XML.
    let plain = plain.trim();
    let plain = plain.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>")).unwrap_or(plain);
    let words: Vec<&str> = plain.split_whitespace().collect();
    Some(cut(&words.join(" "))).filter(|title| !title.is_empty())
}

/// The value of an attribute of a tag: found in its lower case, taken from its original.
fn attribute(lower: &str, original: &str, name: &str) -> Option<String> {
    for (at, _) in lower.match_indices(name) {
        let is_word =
            at > 0 && lower.as_bytes().get(at - 1).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'"');
        let from = at + name.len();
        let rest = original.get(from..)?.trim_start();
        let Some(value) = rest.strip_prefix('=').filter(|_| is_word).map(str::trim_start) else { continue };
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value.get(1..)?.split(quote).next()?,
            _ => value.split(|c: char| c.is_ascii_whitespace()).next()?.trim_end_matches('/'),
        };
        return Some(cut(&unescape_attribute(value.trim())));
    }
    None
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::http::BODY_BYTES_MAX;

    #[test]
    fn a_page_says_what_it_is() {
        let page = read_page(
            b"<HTML><head><TITLE lang=en>\n Router &amp;  Co\n</TITLE>\
              <META content='WordPress 6.1' name=\"generator\"><link rel=\"shortcut icon\" href=/Fav.ico />\
              </head><form><input name=p type=PASSWORD></form>",
            None,
        );
        assert_eq!(page.title.as_deref(), Some("Router & Co"));
        assert_eq!(page.generator.as_deref(), Some("WordPress 6.1"));
        assert_eq!(page.icon.as_deref(), Some("/Fav.ico"));
        assert!(page.asks_password);
    }

    #[test]
    fn a_generator_in_a_text_about_one_is_none() {
        let tag = "<meta name=\"generator\" content=\"WordPress 4.1\" />";
        for around in [
            "<!-- @ -->",
            "<textarea>@</textarea>",
            "<script>var t='@'</script>",
            "<iframe>@</iframe>",
            "<title>@</title>",
        ] {
            let before = around.replace('@', tag);
            assert_eq!(read_page(before.as_bytes(), None).generator, None, "{before}");
            let both = before + "<meta name=generator content='WordPress 6.4.2'>";
            assert_eq!(read_page(both.as_bytes(), None).generator.as_deref(), Some("WordPress 6.4.2"), "{both}");
        }
    }

    #[test]
    fn the_title_is_the_first_that_is_the_pages_own() {
        for (body, title) in [
            ("<!-- <title>old</title> --><title>New</title>", Some("New")),
            ("<!--><title>New</title><!-- -->", Some("New")),
            ("<!-- a -- > b <title>x</title> --!><title>New</title>", Some("New")),
            ("<titlebar>x</titlebar><title>New</title>", Some("New")),
            ("<svg><title>icon</title></svg><title>New</title>", Some("New")),
            ("<script>var a = '<title>js</title>';</script><title>New</title>", Some("New")),
            ("<STYLE>/* <title>css</title> */</STYLE><Title\nlang=en>New</tITLE>", Some("New")),
            ("<title>a</title><title>b</title>", Some("a")),
            ("<title>\n A \t  &nbsp; B\u{a0}C </title>", Some("A B C")),
            ("<title>Caf&eacute; &#8211; Tom &amp; Jerry&#x27;s</title>", Some("Caf\u{e9} \u{2013} Tom & Jerry's")),
            ("<title/>New</title>", Some("New")),
            ("<title data-x=\"a>b\">New</title>", Some("New")),
            ("<title a='>' b=\">\" >New</title>", Some("New")),
            ("<title>a <!-- b --> c</title>", Some("a <!-- b --> c")),
            ("<svg class=\"x\"/><title>New</title>", Some("New")),
            ("<svg/><math /><title>New</title>", Some("New")),
            ("<svg><title>icon</title><path/></svg><title>New</title>", Some("New")),
            ("<script/><title>x</title></script><title>New</title>", Some("New")),
            ("<meta content=\"<title>x</title>\"><title>New</title>", Some("New")),
            ("<noscript><title>x</title></noscript><title>New</title>", Some("New")),
            ("<a title='it's'><title>New</title>", Some("New")),
            ("<p title=\"never ends><title>New</title>", Some("New")),
            ("<!-- <title>never ends</title>", None),
            ("<script><title>never ends</title>", None),
            ("<title> </title>", None),
            ("<svg><svg></svg><title>icon</title></svg><title>New</title>", Some("New")),
            ("<plaintext><title>text</title>", None),
            ("<rss><title> <![CDATA[News & more]]></title>", Some("News & more")),
            ("<script>if (a<!--b) c = '<!--';</script><title>New</title>", Some("New")),
            ("<style>/* <!-- */</style><title>New</title>", Some("New")),
            ("<body data-x='<!--'><title>New</title>", Some("New")),
            ("<title data-x=\"a>b\">New</title>", Some("New")),
            ("<svg/><title>New</title>", Some("New")),
            ("<svg><title>icon</title></svg><svg /><title>New</title>", Some("New")),
            ("<title>A<!-- x -->B</title>", Some("A<!-- x -->B")),
        ] {
            assert_eq!(read_page(body.as_bytes(), None).title.as_deref(), title, "{body}");
        }
        let long = "\u{431}".repeat(1_000);
        assert_eq!(read_page(format!("<title>{long}").as_bytes(), None).title.unwrap().chars().count(), TEXT_MAX);
    }

    #[test]
    fn what_is_not_there_is_not_invented() {
        assert_eq!(read_page(b"<p>password title generator</p>", None), Page::default());
        assert_eq!(read_page(b"<title></title>", None), Page::default());
        assert_eq!(read_page(b"", None), Page::default());
        assert_eq!(read_page("<title>\u{fc}ber".as_bytes(), None).title.as_deref(), Some("\u{fc}ber"));
        assert!(read_page(&[b"<title>".to_vec(), vec![b'x'; 100_000]].concat(), None).title.unwrap().len() <= TEXT_MAX);
    }

    #[test]
    fn a_field_for_a_password_stands_in_a_page() {
        let asks = |body: &str, kind| read_page(body.as_bytes(), kind).asks_password;
        let form = "<form><input name=p type=password></form>";
        assert!(asks(form, Some("text/html; charset=utf-8")) && asks(form, Some("application/xhtml+xml")));
        assert!(asks(form, None), "without a type it may be shown as a page");
        assert!(!asks(form, Some("text/plain")));
        assert!(!asks("<script>f('<input type=password>')</script>", None));
        assert!(!asks("<p title='<input type=password>'>", None));
    }

    #[test]
    fn a_page_of_tags_without_ends_takes_no_longer_than_another() {
        // Each of these tags once reached to the end of the page and was searched as a whole.
        let tags = "<meta <link <input ".repeat(BODY_BYTES_MAX / 19);
        let page = read_page(format!("{tags}><input type=password>").as_bytes(), None);
        assert_eq!(page, Page { asks_password: true, ..Page::default() });
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "(<(title|meta|link|input)? ?(name|rel|type|content|href)?=?[\"']?|\\PC{0,9}|>|\u{20ac}){0,40}") {
            let page = read_page(text.as_bytes(), None);
            prop_assert!(page.title.is_none_or(|title| title.chars().count() <= TEXT_MAX));
        }
    }
}
