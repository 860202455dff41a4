//! Tags of a page, in the order in which they stand: without those that are in comments, scripts, and quoted values.
//!
//! Not a parser of HTML (see its section 13.2.5): only what tells tags from text that looks like them.

use std::borrow::Cow;
use std::ops::Range;

/// Elements whose content is text, whatever looks like a tag or a comment in it.
const RAW: [&str; 8] = ["script", "style", "title", "textarea", "iframe", "xmp", "noembed", "noframes"];
/// Most images within an image that are told apart: a page of their beginnings alone costs no more.
const NESTED_MAX: usize = 32;
/// Longest tag whose end is looked for behind its quotes.
const TAG_BYTES_MAX: usize = 2048;

/// A tag in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// Its name, in lower case; with a slash in front where it ends an element.
    pub(super) name: &'a str,
    /// Where it stands, from `<` up to and with `>`.
    pub(super) place: Range<usize>,
    /// Whether it ends in `/>`.
    pub(super) is_closed: bool,
}

/// The tags of a page in lower case, and its comments so far.
#[derive(Debug)]
pub(super) struct Tags<'a> {
    lower: &'a str,
    at: usize,
    comments: Vec<Range<usize>>,
}

impl<'a> Tags<'a> {
    /// Those of a page in lower case.
    pub(super) fn of(lower: &'a str) -> Self {
        Self { lower, at: 0, comments: Vec::new() }
    }

    /// Goes on behind the end of the element that has begun; false where it has none.
    pub(super) fn skip_to_end_of(&mut self, name: &str) -> bool {
        let (begins, ends) = (format!("<{name}"), format!("</{name}"));
        // Images stand within images; what is text ends at its first end.
        let mut more = if matches!(name, "svg" | "math") { NESTED_MAX } else { 0 };
        let (mut depth, mut at) = (1_usize, self.at);
        loop {
            let rest = self.lower.get(at..).unwrap_or_default();
            let Some(end) = rest.find(&ends) else { return false };
            if let Some(begin) = rest.get(..end).and_then(|before| before.find(&begins)).filter(|_| more > 0) {
                more -= 1;
                let tag = rest.get(begin..end).and_then(|tag| tag.get(..tag.find('>')?));
                depth += usize::from(!tag.is_some_and(|tag| tag.ends_with('/')));
                at += begin + begins.len();
                continue;
            }
            depth -= 1;
            if depth == 0 {
                self.at = at + end;
                return true;
            }
            at += end + ends.len();
        }
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        loop {
            let from = self.at + self.lower.get(self.at..)?.find('<')?;
            let rest = self.lower.get(from + 1..)?;
            if let Some(comment) = rest.strip_prefix("!--") {
                // One without an end takes the rest of the page.
                self.at = comment_length(comment).map_or(self.lower.len(), |length| from + 4 + length);
                self.comments.push(from..self.at);
                continue;
            }
            if is_declaration(rest) {
                // `<!doctype html>`, `<?php ...>`: whatever is in it is no tag.
                self.at = rest.find('>').map_or(self.lower.len(), |end| from + 2 + end);
                continue;
            }
            let length = tag_length(rest);
            if length == 0 {
                self.at = from + 1;
                continue;
            }
            let place = from..from + 1 + length;
            let tag = rest.get(..length - 1)?;
            let slash = usize::from(tag.starts_with('/'));
            let end = tag.get(slash..)?.find(|c: char| c.is_ascii_whitespace() || c == '/');
            let name = tag.get(..end.map_or(tag.len(), |end| end + slash))?;
            self.at = place.end;
            if RAW.contains(&name) && !self.skip_to_end_of(name) {
                // The page may be cut there; what is left is no page.
                self.at = self.lower.len();
            }
            return Some(Tag { name, place, is_closed: tag.ends_with('/') });
        }
    }
}

/// A page without its comments.
pub(super) fn without_comments(text: &str) -> Cow<'_, str> {
    // Lower case of ASCII only, so that positions are the same in both.
    let lower = text.to_ascii_lowercase();
    let mut tags = Tags::of(&lower);
    tags.by_ref().for_each(drop);
    if tags.comments.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut kept, mut at) = (String::new(), 0);
    for comment in tags.comments {
        kept.push_str(text.get(at..comment.start).unwrap_or_default());
        at = comment.end;
    }
    kept.push_str(text.get(at..).unwrap_or_default());
    Cow::Owned(kept)
}

/// Whether what stands behind a `<` goes up to the next `>` and says nothing (HTML section 13.2.5.41, bogus comments).
fn is_declaration(rest: &str) -> bool {
    rest.starts_with(['!', '?'])
        || rest.strip_prefix('/').is_some_and(|end| end.starts_with(|c: char| !c.is_ascii_alphabetic()))
}

/// How long a comment is behind its `<!--`; `None` where it has no end.
fn comment_length(comment: &str) -> Option<usize> {
    // `<!-->` and `<!--->` are whole comments.
    let end = ["->", ">"].into_iter().find(|end| comment.starts_with(end)).map(str::len);
    end.or_else(|| ["-->", "--!>"].into_iter().filter_map(|end| Some(comment.find(end)? + end.len())).min())
}

/// How long a tag is behind its `<`, with its `>`, which does not count in quotes; 0 where it is none, or has no end. Quotes
/// without an end are none.
fn tag_length(rest: &str) -> usize {
    let name = rest.strip_prefix('/').unwrap_or(rest);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return 0;
    }
    let mut quote = None;
    for (at, byte) in rest.bytes().take(TAG_BYTES_MAX).enumerate() {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    let end = rest.bytes().take(TAG_BYTES_MAX).position(|byte| matches!(byte, b'<' | b'>'));
    end.filter(|end| rest.as_bytes().get(*end) == Some(&b'>')).map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(page: &str) -> Vec<String> {
        Tags::of(page).map(|tag| format!("{}{}", tag.name, if tag.is_closed { "/" } else { "" })).collect()
    }

    #[test]
    fn a_tag_is_told_from_what_looks_like_one() {
        for (page, expected) in [
            ("<a><b x=y></b><br/>", &["a", "b", "/b", "br/"][..]),
            ("<a title='1<b>2'><c>", &["a", "c"]),
            ("<a title=\"never ends><c>", &["a", "c"]),
            ("<script>a<!--b; '<c>'</script><d>", &["script", "/script", "d"]),
            ("<style>/* <!-- */</style><d>", &["style", "/style", "d"]),
            ("<a x='<!--'><d>", &["a", "d"]),
            ("<!-- <a> --><d><!-- <e>", &["d"]),
            ("<title>a <!-- <b> --></title><d>", &["title", "/title", "d"]),
            ("<script><a>", &["script"]),
            ("1 < 2 <> <1> </ > <a", &[]),
            ("<!doctype html [<a>]><?php <b> ?></ <c>><d>", &["d"]),
            ("<![CDATA[<a>]]><d><? <e", &["d"]),
        ] {
            assert_eq!(names(page), expected, "{page}");
        }
        assert_eq!(without_comments("a<!--b-->c<B x='<!--'>d"), "ac<B x='<!--'>d");
        assert_eq!(without_comments("<Script>i<!--j</Script>d<!-- never"), "<Script>i<!--j</Script>d");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "(<|/|>|!--|-->|script|title|[a-z ='\"]|\u{20ac}){0,40}") {
            prop_assert!(without_comments(&text).len() <= text.len());
            for tag in Tags::of(&text) {
                prop_assert!(text.get(tag.place).is_some());
            }
        }
    }
}
