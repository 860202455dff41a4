//! What an HTML page says of itself: title, generator, icon, and whether it asks for a password.
//!
//! Not a parser of HTML: tags and attributes are looked for in the text, which is what is needed and cannot be led far.

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

/// Reads a page.
#[must_use]
pub fn read_page(body: &[u8]) -> Page {
    let text = String::from_utf8_lossy(body);
    // Lower case of ASCII only, so that positions are the same in both.
    let lower = text.to_ascii_lowercase();
    let mut page = Page { title: title(&text, &lower), ..Page::default() };
    for (at, _) in lower.match_indices('<') {
        // A tag ends before the next one begins, so that each byte is looked at in one tag only.
        let Some(tag) = lower.get(at..).and_then(|rest| rest.get(..=rest.get(1..)?.find(['<', '>'])?)) else { break };
        let original = text.get(at..at + tag.len()).unwrap_or_default();
        if tag.starts_with("<meta") && attribute(tag, tag, "name").as_deref() == Some("generator") {
            page.generator =
                page.generator.or_else(|| attribute(tag, original, "content")).filter(|text| !text.is_empty());
        } else if tag.starts_with("<link") && page.icon.is_none() {
            let rel = attribute(tag, tag, "rel").unwrap_or_default();
            if rel.split_ascii_whitespace().any(|word| word == "icon") {
                page.icon = attribute(tag, original, "href").filter(|href| !href.is_empty());
            }
        } else if tag.starts_with("<input") && attribute(tag, tag, "type").as_deref() == Some("password") {
            page.asks_password = true;
        }
    }
    page
}

fn title(text: &str, lower: &str) -> Option<String> {
    let from = lower.find("<title")?;
    let from = from + lower.get(from..)?.find('>')? + 1;
    let to = from + lower.get(from..)?.find("</title").unwrap_or(TEXT_MAX * 4);
    // A title without an end is cut off where a character ends.
    let to = (0..=to.min(text.len())).rev().find(|to| text.is_char_boundary(*to))?;
    let words: Vec<&str> = text.get(from..to)?.split_whitespace().collect();
    Some(cut(&unescape(&words.join(" ")))).filter(|title| !title.is_empty())
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
        return Some(cut(&unescape(value.trim())));
    }
    None
}

/// The five entities that titles have in practice.
fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for (entity, plain) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
    {
        if text.contains(entity) {
            text = text.replace(entity, plain);
        }
    }
    text
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
        );
        assert_eq!(page.title.as_deref(), Some("Router & Co"));
        assert_eq!(page.generator.as_deref(), Some("WordPress 6.1"));
        assert_eq!(page.icon.as_deref(), Some("/Fav.ico"));
        assert!(page.asks_password);
    }

    #[test]
    fn what_is_not_there_is_not_invented() {
        assert_eq!(read_page(b"<p>password title generator</p>"), Page::default());
        assert_eq!(read_page(b"<title></title>"), Page::default());
        assert_eq!(read_page(b""), Page::default());
        assert_eq!(read_page("<title>\u{fc}ber".as_bytes()).title.as_deref(), Some("\u{fc}ber"));
        assert!(read_page(&[b"<title>".to_vec(), vec![b'x'; 100_000]].concat()).title.unwrap().len() <= TEXT_MAX);
    }

    #[test]
    fn a_page_of_tags_without_ends_takes_no_longer_than_another() {
        // Each of these tags once reached to the end of the page and was searched as a whole.
        let tags = "<meta <link <input ".repeat(BODY_BYTES_MAX / 19);
        let page = read_page(format!("{tags}<input type=password>").as_bytes());
        assert_eq!(page, Page { asks_password: true, ..Page::default() });
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "(<(title|meta|link|input)? ?(name|rel|type|content|href)?=?[\"']?|\\PC{0,9}|>|\u{20ac}){0,40}") {
            let page = read_page(text.as_bytes());
            prop_assert!(page.title.is_none_or(|title| title.chars().count() <= TEXT_MAX));
        }
    }
}
