//! Oracle Net: the `version` that a listener's number stands for, which it tells whoever it accepts or refuses (`VSNNUM`).

use super::Lines;

/// ACCEPT, REFUSE.
const KINDS: [u8; 2] = [2, 4];
/// The first release whose number is laid out in the new way.
const NEW_FROM: u32 = 18;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    const NAME: &[u8] = b"(VSNNUM=";
    if !KINDS.contains(bytes.get(4)?) {
        return None;
    }
    let at = bytes.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digits = bytes.get(at..)?.split(|byte| *byte == b')').next()?;
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    // Of a listener that does not tell it.
    lines.put("version", version(number).filter(|_| number > 0)?);
    Some(())
}

/// Five numbers in 32 bits: of 8, 4, 8, 4 and 8 bits, and since 18c of 8, 8, 4, 8 and 4.
fn version(number: u32) -> Option<String> {
    let major = number >> 24;
    let parts = if major < NEW_FROM {
        [number >> 20 & 0xf, number >> 12 & 0xff, number >> 8 & 0xf, number & 0xff]
    } else {
        [number >> 16 & 0xff, number >> 12 & 0xf, number >> 4 & 0xff, number & 0xf]
    };
    let [a, b, c, d] = parts;
    (major > 0).then(|| format!("{major}.{a}.{b}.{c}.{d}"))
}

#[cfg(test)]
mod tests {
    use super::super::Dissector;

    #[test]
    fn a_number_is_the_version_that_it_stands_for() {
        for (number, version) in [
            ("318767104", Some("19.0.0.0.0")),
            ("186647552", Some("11.2.0.4.0")),
            ("169870592", Some("10.2.0.5.0")),
            ("352321536", Some("21.0.0.0.0")),
            ("0", None),
            ("99999999999", None),
            ("x", None),
        ] {
            let body = format!("\0e\0\0\x04\0\0\0\"\0\0Y(DESCRIPTION=(TMP=)(VSNNUM={number})(ERR=1189))");
            let told = Dissector::named("tns").unwrap().dissect(body.as_bytes());
            assert_eq!(told, version.map(|version| format!("version={version}\n").into_bytes()), "{number}");
        }
    }
}
