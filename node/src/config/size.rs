//! Numbers of bytes as people write them: `512MiB`, `20GiB`, `1000`.

use std::str::FromStr;

/// Units with their bytes.
const UNITS: [(&str, u64); 6] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(
    /// In bytes.
    pub u64,
);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let refused = || format!("`{shown}` is not a size: write 1000, 512MiB or 20GiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(refused)?;
        let number: u64 = number.parse().map_err(|_not_a_number| refused())?;
        number.checked_mul(unit.1).map(Self).ok_or_else(|| format!("`{shown}` is more than can be counted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units_and_what_is_none_is_refused() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("5B", 5), ("512MiB", 512 << 20), ("2 TiB", 2 << 40)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for (text, part) in [
            ("", "is not a size"),
            ("GiB", "is not a size"),
            ("1.5GiB", "is not a size"),
            ("5GB", "is not a size"),
            ("5\n\u{1b}[2J", r"`5\n\u{1b}[2J` is not a size"),
            ("-1", "is not a size"),
            ("99999999999999999999", "is not a size"),
            ("99999999TiB", "more than can be counted"),
        ] {
            let error = text.parse::<Size>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
