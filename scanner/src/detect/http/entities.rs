//! Character references of HTML (WHATWG HTML, section 13.2.5.72): numbers, and the names that titles have.

/// Longest reference that is looked at, without `&` and `;`.
const REFERENCE_BYTES_MAX: usize = 16;
/// Names of the characters from U+00A0 to U+00FF, in their order.
const LATIN_1: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo", "not", "shy",
    "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot", "cedil", "sup1", "ordm",
    "raquo", "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc", "Atilde", "Auml", "Aring", "AElig",
    "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute", "Icirc", "Iuml", "ETH", "Ntilde", "Ograve",
    "Oacute", "Ocirc", "Otilde", "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN",
    "szlig", "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc",
    "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde", "ouml",
    "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];
/// Names of others, in order: those of HTML 4.01, the signs of ASCII, and the letters of Europe's other languages.
#[rustfmt::skip]
const OTHERS: [(&str, u32); 263] = [
    ("AMP", 0x26), ("Abreve", 0x102), ("Alpha", 0x391), ("Amacr", 0x100), ("Aogon", 0x104), ("Beta", 0x392),
    ("COPY", 0xa9), ("Cacute", 0x106), ("Ccaron", 0x10c), ("Chi", 0x3a7), ("Dagger", 0x2021), ("Dcaron", 0x10e),
    ("Delta", 0x394), ("Dstrok", 0x110), ("Ecaron", 0x11a), ("Emacr", 0x112), ("Eogon", 0x118), ("Epsilon", 0x395),
    ("Eta", 0x397), ("GT", 0x3e), ("Gamma", 0x393), ("Gbreve", 0x11e), ("Idot", 0x130), ("Imacr", 0x12a),
    ("Iota", 0x399), ("Kappa", 0x39a), ("LT", 0x3c), ("Lambda", 0x39b), ("Lcaron", 0x13d), ("Lstrok", 0x141),
    ("Mu", 0x39c), ("Nacute", 0x143), ("Ncaron", 0x147), ("NewLine", 0xa), ("Nu", 0x39d), ("OElig", 0x152),
    ("Odblac", 0x150), ("Omacr", 0x14c), ("Omega", 0x3a9), ("Omicron", 0x39f), ("Phi", 0x3a6), ("Pi", 0x3a0),
    ("Prime", 0x2033), ("Psi", 0x3a8), ("QUOT", 0x22), ("REG", 0xae), ("Rcaron", 0x158), ("Rho", 0x3a1),
    ("Sacute", 0x15a), ("Scaron", 0x160), ("Scedil", 0x15e), ("Sigma", 0x3a3), ("Tab", 0x9), ("Tau", 0x3a4),
    ("Tcaron", 0x164), ("Tcedil", 0x162), ("Theta", 0x398), ("Udblac", 0x170), ("Umacr", 0x16a), ("Upsilon", 0x3a5),
    ("Uring", 0x16e), ("Xi", 0x39e), ("Yuml", 0x178), ("Zacute", 0x179), ("Zcaron", 0x17d), ("Zdot", 0x17b),
    ("Zeta", 0x396), ("abreve", 0x103), ("alefsym", 0x2135), ("alpha", 0x3b1), ("amacr", 0x101), ("amp", 0x26),
    ("and", 0x2227), ("ang", 0x2220), ("aogon", 0x105), ("apos", 0x27), ("ast", 0x2a), ("asymp", 0x2248),
    ("bdquo", 0x201e), ("beta", 0x3b2), ("bsol", 0x5c), ("bull", 0x2022), ("cacute", 0x107), ("cap", 0x2229),
    ("ccaron", 0x10d), ("check", 0x2713), ("chi", 0x3c7), ("circ", 0x2c6), ("clubs", 0x2663), ("colon", 0x3a),
    ("comma", 0x2c), ("commat", 0x40), ("cong", 0x2245), ("crarr", 0x21b5), ("cup", 0x222a), ("dArr", 0x21d3),
    ("dagger", 0x2020), ("darr", 0x2193), ("dash", 0x2010), ("dcaron", 0x10f), ("delta", 0x3b4), ("diams", 0x2666),
    ("dollar", 0x24), ("dstrok", 0x111), ("ecaron", 0x11b), ("emacr", 0x113), ("empty", 0x2205), ("emsp", 0x2003),
    ("ensp", 0x2002), ("eogon", 0x119), ("epsilon", 0x3b5), ("equals", 0x3d), ("equiv", 0x2261), ("eta", 0x3b7),
    ("euro", 0x20ac), ("excl", 0x21), ("exist", 0x2203), ("female", 0x2640), ("fnof", 0x192), ("forall", 0x2200),
    ("frasl", 0x2044), ("gamma", 0x3b3), ("gbreve", 0x11f), ("ge", 0x2265), ("grave", 0x60), ("gt", 0x3e),
    ("hArr", 0x21d4), ("harr", 0x2194), ("hearts", 0x2665), ("hellip", 0x2026), ("hyphen", 0x2010), ("imacr", 0x12b),
    ("image", 0x2111), ("imath", 0x131), ("infin", 0x221e), ("inodot", 0x131), ("int", 0x222b), ("iota", 0x3b9),
    ("isin", 0x2208), ("kappa", 0x3ba), ("lArr", 0x21d0), ("lambda", 0x3bb), ("lang", 0x27e8), ("larr", 0x2190),
    ("lbrace", 0x7b), ("lbrack", 0x5b), ("lcaron", 0x13e), ("lceil", 0x2308), ("lcub", 0x7b), ("ldquo", 0x201c),
    ("le", 0x2264), ("lfloor", 0x230a), ("lowast", 0x2217), ("lowbar", 0x5f), ("loz", 0x25ca), ("lpar", 0x28),
    ("lrm", 0x200e), ("lsaquo", 0x2039), ("lsqb", 0x5b), ("lsquo", 0x2018), ("lstrok", 0x142), ("lt", 0x3c),
    ("male", 0x2642), ("mdash", 0x2014), ("minus", 0x2212), ("mu", 0x3bc), ("nabla", 0x2207), ("nacute", 0x144),
    ("ncaron", 0x148), ("ndash", 0x2013), ("ne", 0x2260), ("ni", 0x220b), ("notin", 0x2209), ("nsub", 0x2284),
    ("nu", 0x3bd), ("num", 0x23), ("odblac", 0x151), ("oelig", 0x153), ("oline", 0x203e), ("omacr", 0x14d),
    ("omega", 0x3c9), ("omicron", 0x3bf), ("oplus", 0x2295), ("or", 0x2228), ("otimes", 0x2297), ("part", 0x2202),
    ("percnt", 0x25), ("period", 0x2e), ("permil", 0x2030), ("perp", 0x22a5), ("phi", 0x3c6), ("phone", 0x260e),
    ("pi", 0x3c0), ("piv", 0x3d6), ("plus", 0x2b), ("prime", 0x2032), ("prod", 0x220f), ("prop", 0x221d),
    ("psi", 0x3c8), ("quest", 0x3f), ("quot", 0x22), ("rArr", 0x21d2), ("radic", 0x221a), ("rang", 0x27e9),
    ("rarr", 0x2192), ("rbrace", 0x7d), ("rbrack", 0x5d), ("rcaron", 0x159), ("rceil", 0x2309), ("rcub", 0x7d),
    ("rdquo", 0x201d), ("real", 0x211c), ("rfloor", 0x230b), ("rho", 0x3c1), ("rlm", 0x200f), ("rpar", 0x29),
    ("rsaquo", 0x203a), ("rsqb", 0x5d), ("rsquo", 0x2019), ("sacute", 0x15b), ("sbquo", 0x201a), ("scaron", 0x161),
    ("scedil", 0x15f), ("sdot", 0x22c5), ("semi", 0x3b), ("sigma", 0x3c3), ("sigmaf", 0x3c2), ("sim", 0x223c),
    ("sol", 0x2f), ("spades", 0x2660), ("star", 0x2606), ("starf", 0x2605), ("sub", 0x2282), ("sube", 0x2286),
    ("sum", 0x2211), ("sup", 0x2283), ("supe", 0x2287), ("tau", 0x3c4), ("tcaron", 0x165), ("tcedil", 0x163),
    ("there4", 0x2234), ("theta", 0x3b8), ("thetasym", 0x3d1), ("thinsp", 0x2009), ("tilde", 0x2dc),
    ("trade", 0x2122), ("uArr", 0x21d1), ("uarr", 0x2191), ("udblac", 0x171), ("umacr", 0x16b), ("upsih", 0x3d2),
    ("upsilon", 0x3c5), ("uring", 0x16f), ("verbar", 0x7c), ("vert", 0x7c), ("weierp", 0x2118), ("xi", 0x3be),
    ("zacute", 0x17a), ("zcaron", 0x17e), ("zdot", 0x17c), ("zeta", 0x3b6), ("zwj", 0x200d), ("zwnj", 0x200c),
];
/// Names of ASCII that browsers take without a semicolon, beside those of Latin 1.
const UNENDED: [&str; 8] = ["amp", "lt", "gt", "quot", "AMP", "LT", "GT", "QUOT"];
/// What the numbers 128 to 159 stand for: windows-1252, because pages mean that.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d,
    0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d,
    0x17e, 0x178,
];

/// The text with its references replaced, once: `&amp;lt;` is `&lt;`. What is none stays.
pub(super) fn unescape(text: &str) -> String {
    unescape_in(text, false)
}

/// The same for the value of an attribute, where a name without its semicolon may be a part of an address: `?a=1&copy=2`.
pub(super) fn unescape_attribute(text: &str) -> String {
    unescape_in(text, true)
}

fn unescape_in(text: &str, is_attribute: bool) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let front: String = after.chars().take(REFERENCE_BYTES_MAX).collect();
        let found = match front.split_once(';') {
            Some((name, _)) => character(name).map(|c| (c, name.len() + 1)),
            None => None,
        };
        let found = found.or_else(|| unended(after, is_attribute));
        match found {
            Some((c, length)) => {
                plain.push(c);
                rest = after.get(length..).unwrap_or_default();
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain + rest
}

/// A number, or one of the oldest names, without its semicolon, which browsers take.
fn unended(after: &str, is_attribute: bool) -> Option<(char, usize)> {
    let Some(digits) = after.strip_prefix('#') else {
        let names = LATIN_1.iter().chain(&UNENDED).filter(|name| after.starts_with(**name));
        let name = names.max_by_key(|name| name.len())?;
        let goes_on = after.get(name.len()..)?.starts_with(|c: char| c == '=' || c.is_ascii_alphanumeric());
        return character(name).filter(|_| !(is_attribute && goes_on)).map(|c| (c, name.len()));
    };
    let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()).min(7);
    Some((character(after.get(..=length)?)?, length + 1))
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let code = match hex {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        let windows = code.checked_sub(128).and_then(|at| WINDOWS_1252.get(usize::try_from(at).ok()?));
        let code = windows.map_or(code, |code| u32::from(*code));
        // What is no character is shown as one that is missing.
        return Some(char::from_u32(code).filter(|c| *c != '\0').unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if let Ok(at) = OTHERS.binary_search_by(|(known, _)| (*known).cmp(name)) {
        return char::from_u32(OTHERS.get(at)?.1);
    }
    let at = LATIN_1.iter().position(|known| *known == name)?;
    char::from_u32(0xa0 + u32::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_the_characters_that_they_name() {
        for (text, plain) in [
            ("a &amp; b &lt;1&gt; &quot;&apos;", "a & b <1> \"'"),
            ("&eacute;&Uuml;&szlig;&yuml;&nbsp;&middot;", "\u{e9}\u{dc}\u{df}\u{ff}\u{a0}\u{b7}"),
            ("&#233;&#xE9;&#8364;&#x1F600;", "\u{e9}\u{e9}\u{20ac}\u{1f600}"),
            ("&#128;&#150;&#39;", "\u{20ac}\u{2013}'"),
            ("&#39 x&#8211", "' x\u{2013}"),
            ("&amp;lt;&amp;#60;", "&lt;&#60;"),
            ("Tom &amp Jerry &copy 2024 Caf&eacute", "Tom & Jerry \u{a9} 2024 Caf\u{e9}"),
            ("&Omega;&alpha; &le; &infin; &hearts;", "\u{3a9}\u{3b1} \u{2264} \u{221e} \u{2665}"),
            (
                "a&colon;b&sol;c &Zcaron;i&zcaron;kov &Lstrok;&oacute;d&zacute;",
                "a:b/c \u{17d}i\u{17e}kov \u{141}\u{f3}d\u{17a}",
            ),
            ("AT&T & co &unheard; &;&#;&#x;&", "AT&T & co &unheard; &;&#;&#x;&"),
            ("&#xd800;&#x110000;&#0;", "\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
        assert!(OTHERS.is_sorted());
        assert_eq!(unescape_attribute("/a?b=1&copy=2&lt&amp;c"), "/a?b=1&copy=2<&c");
    }
}
