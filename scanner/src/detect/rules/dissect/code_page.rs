//! Names that are written in the code page of a console, as Windows writes those of its hosts in NetBIOS.

use std::borrow::Cow;

/// The upper half of code page 850, of Western Europe; its letters stand where the older 437 of the United States has them too.
const UPPER_HALF: &str = "\
     ÇüéâäàåçêëèïîìÄÅ\
     ÉæÆôöòûùÿÖÜø\u{a3}Ø\u{d7}ƒ\
     áíóúñÑªº\u{bf}\u{ae}\u{ac}½¼\u{a1}\u{ab}\u{bb}\
     \u{2591}\u{2592}\u{2593}\u{2502}\u{2524}ÁÂÀ\u{a9}\u{2563}\u{2551}\u{2557}\u{255d}\u{a2}\u{a5}\u{2510}\
     \u{2514}\u{2534}\u{252c}\u{251c}\u{2500}\u{253c}ãÃ\u{255a}\u{2554}\u{2569}\u{2566}\u{2560}\u{2550}\u{256c}\u{a4}\
     ðÐÊËÈıÍÎÏ\u{2518}\u{250c}\u{2588}\u{2584}\u{a6}Ì\u{2580}\
     ÓßÔÒõÕµþÞÚÛÙýÝ\u{af}\u{b4}\
     \u{ad}\u{b1}\u{2017}¾\u{b6}\u{a7}\u{f7}\u{b8}\u{b0}\u{a8}\u{b7}¹³²\u{25a0}\u{a0}";

/// A name in UTF-8: as it is where it is that already, as Samba writes it, and read in the code page otherwise.
pub(super) fn decoded(name: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(name).is_ok() {
        return Cow::Borrowed(name);
    }
    let letter = |byte: &u8| match byte.checked_sub(0x80) {
        None => char::from(*byte),
        Some(at) => UPPER_HALF.chars().nth(usize::from(at)).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    Cow::Owned(name.iter().map(letter).collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_consoles_keep_their_letters() {
        assert_eq!(UPPER_HALF.chars().count(), 128);
        for (name, text) in [
            (&b"M\x9aLLER"[..], "M\u{dc}LLER"),
            (b"GR\x9aN", "GR\u{dc}N"),
            (b"\x90COLE", "\u{c9}COLE"),
            (b"STRA\xe1E", "STRA\u{df}E"),
            ("M\u{dc}LLER".as_bytes(), "M\u{dc}LLER"),
            (b"\xff\x80", "\u{a0}\u{c7}"),
            (b"", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&decoded(name)), text, "{name:?}");
        }
    }
}
