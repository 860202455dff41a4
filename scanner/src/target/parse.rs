//! Reads one target: an address, a network, a range or a name. What stands between targets is read in `line.rs`.
//!
//! A token that looks like an address (digits, dots, stars) is read as one and never taken for a name, so that a
//! slip such as `10.0.0.256` is an error here and not a lookup at some name server. Nor is what a resolver would read as
//! an address (`0x7f000001`): it would be scanned under a name, and exclude nothing.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::range::Span;
use super::{NAMES_MAX, RANGES_MAX, TargetSetBuilder, zone};

/// Longest token looked at: the longest host name is 253 characters, the longest range of addresses 91.
pub(super) const TOKEN_CHARS_MAX: usize = 255;

/// Why targets were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// One token is no target; nothing of its text should be scanned.
    #[error("{origin}:{line}:{column}: {token:?}: {problem}")]
    Token {
        /// Where the text came from, as given by the caller.
        origin: String,
        /// Line of the token, from 1.
        line: usize,
        /// Column of its first character, from 1, counted in characters.
        column: usize,
        /// The token, cut to 255 characters.
        token: String,
        /// What is wrong with it.
        problem: TargetProblem,
    },
    /// The targets as a whole cannot be one set.
    #[error("targets refused: {problem}")]
    Set {
        /// What is wrong with them.
        problem: TargetProblem,
    },
}

impl TargetError {
    pub(crate) fn set(problem: TargetProblem) -> Self {
        Self::Set { problem }
    }
}

/// What is wrong with a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// An IPv4 octet or octet range that is no number up to 255.
    #[error("{part:?} is not a number from 0 to 255 or a range of them")]
    Octet {
        /// The octet as written.
        part: String,
    },
    /// Octal in some programs, decimal in others.
    #[error("{part:?} begins with a zero, which some programs read as octal: write it without")]
    LeadingZero {
        /// The octet or prefix length as written.
        part: String,
    },
    /// Not four octets.
    #[error("an IPv4 address has four parts, this has {parts}")]
    Parts {
        /// How many there are.
        parts: usize,
    },
    /// A prefix length that is no number or too long.
    #[error("prefix length {length:?} is not a number from 0 to {max}")]
    Prefix {
        /// The length as written.
        length: String,
        /// The longest of the family.
        max: u8,
    },
    /// A range that ends before it begins.
    #[error("the range ends before it begins")]
    Backwards,
    /// A network written with octet ranges.
    #[error("a prefix length needs a plain address before the slash")]
    PrefixOfRange,
    /// Something with a colon that is no IPv6 address.
    #[error("{part:?} is not an IPv6 address")]
    V6 {
        /// The address as written.
        part: String,
    },
    /// `fd00::1%eth0`: only link-local addresses are other hosts on other links.
    #[error("only link-local addresses (fe80::...) have a zone: give the address alone")]
    Zone,
    /// `fe80::1`: which link is not said.
    #[error(
        "a link-local address is another host on every link: write the interface behind it, {part}%NAME (here: {known})"
    )]
    NoZone {
        /// The address as written.
        part: String,
        /// The interfaces there are.
        known: String,
    },
    /// `fe80::1%eht0`: no such interface.
    #[error("there is no interface {zone:?} on this machine: it has {known}")]
    UnknownZone {
        /// The zone as written.
        zone: String,
        /// The interfaces there are.
        known: String,
    },
    /// `fe80::1%eth0-fe80::9%eth1`, `fe80::/32%eth0`.
    #[error("a range or network with a zone lies on one link: write fe80::1%eth0-fe80::9%eth0 or fe80::%eth0/64")]
    ZoneRange,
    /// `http://...`, `host:80`, `host/path`.
    #[error("give the host name or address alone, without scheme, port or path")]
    NotAlone,
    /// No host name either.
    #[error("not an address, a range or a host name: {why}")]
    Name {
        /// The rule that it breaks.
        why: &'static str,
    },
    /// `0x7f000001`, `10.0.0.0x2`: `inet_aton` reads it as an address, whatever it was meant to be.
    #[error("it ends in a number, so that resolvers read it as an IPv4 address: write one as 10.0.0.1")]
    EndsInNumber,
    /// `10.0.0.1 - 10.0.0.9`: a range to some programs, an address and a comment to masscan.
    #[error("a dash alone: write a range without blanks, 10.0.0.1-10.0.0.9")]
    LoneDash,
    /// `10.0.0.0 255.255.255.0`, `10.0.0.0 0.0.0.255`: a network to whoever wrote it, two addresses to whoever reads it.
    #[error(
        "a mask behind an address: write the network as 10.0.0.0/24; an address that looks like one stands on a line of its \
         own, or with /32 behind it"
    )]
    Mask,
    /// `10.0.0.1 to 10.0.0.9`, `10.0.0.0 netmask ...`: a word that joins two addresses, and would be read as a host's name.
    #[error("{word:?} between two addresses: write a range as 10.0.0.1-10.0.0.9 and a network as 10.0.0.0/24")]
    Joined {
        /// The word as written.
        word: String,
    },
    /// `ports = 80` and the like: a line of masscan's configuration that names no targets.
    #[error("of masscan's configuration only lines `range = ...` and `exclude = ...` are read here")]
    Key,
    /// `excludefile = ...`: a file that is not here.
    #[error("a file named in a file is not read: give it with --file or --exclude-file")]
    KeyOfFile,
    /// `range = ...` in a list of exclusions.
    #[error("among exclusions it cannot be told whether this is to be scanned or left out: write the targets alone")]
    RangeExcluded,
    /// Longer than any target.
    #[error("longer than any address or host name (255 characters)")]
    TooLong,
    /// More ranges than a set may hold.
    #[error("{ranges} separate ranges, at most {RANGES_MAX} fit in one job: split the targets")]
    TooManyRanges {
        /// How many there would be.
        ranges: u64,
    },
    /// More names than a set may hold.
    #[error("more than {NAMES_MAX} host names: split the targets")]
    TooManyNames,
    /// More targets than an index can count.
    #[error(
        "more than {} targets in one job, and no scan of this size would ever end: give smaller IPv6 networks, or have some \
         addresses of each scanned (--sample N); the hosts of a link are found by a scan from a machine on it (--local)",
        u64::MAX
    )]
    TooManyTargets,
    /// A serialised set that no program wrote.
    #[error("the encoded target set is damaged")]
    BadEncoding,
}

/// Adds one target to `builder`.
///
/// Link-local addresses have to say on which link they are if `needs_zone`.
pub(super) fn parse_token(token: &str, needs_zone: bool, builder: &mut TargetSetBuilder) -> Result<(), TargetProblem> {
    if token.len() > TOKEN_CHARS_MAX {
        return Err(TargetProblem::TooLong);
    }
    if token.contains("://") {
        return Err(TargetProblem::NotAlone);
    }
    let plain = plain_dashes(token);
    let token = plain.as_ref();
    if token.bytes().all(is_of_v4) {
        return parse_v4(token, builder);
    }
    if token.contains(':') {
        let span = parse_v6(token)?;
        // What stands for a zone inside is not one that was written.
        if !token.contains('%') && zone::has_zone(span) {
            return Err(TargetProblem::V6 { part: token.to_owned() });
        }
        let is_on_any = |bits| zone::is_link_local(bits) && !zone::has_zone(Span::single(bits));
        if needs_zone && (is_on_any(span.first) || is_on_any(span.last)) {
            let part = token.split(['-', '/']).next().unwrap_or_default().to_owned();
            return Err(TargetProblem::NoZone { part, known: zone::interfaces() });
        }
        builder.v6.push(span);
        return Ok(());
    }
    // With anything else in it it is neither.
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
    if token.bytes().all(is_of_name) && token.split(['-', '/']).all(ends_in_number) {
        return Err(TargetProblem::EndsInNumber);
    }
    if token.contains('/') {
        return Err(TargetProblem::NotAlone);
    }
    builder.names.push(valid_name(token)?);
    Ok(())
}

/// Whether this looks like the mask of a network behind `before` rather than like an address: a netmask, or a wildcard mask as
/// routers' access lists have it. What begins with 0 or 255 is no host's address whatever follows. All ones and all zeros are
/// one address with either reading, or all there are.
pub(super) fn is_mask(token: &str, before: &str) -> bool {
    if let Ok(address) = token.parse::<Ipv4Addr>() {
        let bits = address.to_bits();
        let is_network = bits != 0 && bits != u32::MAX || before == "0.0.0.0";
        let is_row = bits.leading_ones() + bits.trailing_zeros() >= u32::BITS;
        return is_network && (matches!(address.octets(), [0 | 255, ..]) || is_row);
    }
    let mask = token.parse::<Ipv6Addr>().map(|address| address.to_bits());
    mask.is_ok_and(|bits| bits.leading_ones() >= 8 && bits.leading_ones() + bits.trailing_zeros() >= 128)
}

/// Whether this is an address or begins with one, as networks and ranges do.
pub(super) fn is_of_address(token: &str) -> bool {
    let first = token.split(['-', '/', '%']).next().unwrap_or(token);
    first.parse::<IpAddr>().is_ok() || (token.contains('.') && token.bytes().all(is_of_v4))
}

/// What every IPv4 target is made of.
fn is_of_v4(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'*' | b'-' | b'/')
}

/// A range of addresses whose dash a text program has set (U+2010 to U+2015), as masscan takes it in lists of exclusions,
/// with a plain one. Any other token is itself: in a name such a dash is a mistake.
fn plain_dashes(token: &str) -> Cow<'_, str> {
    if token.is_ascii() {
        return Cow::Borrowed(token);
    }
    let plain = token.replace(|c| matches!(c, '\u{2010}'..='\u{2015}'), "-");
    let is_address = plain.is_ascii() && (plain.bytes().all(is_of_v4) || plain.contains(':'));
    if is_address { Cow::Owned(plain) } else { Cow::Borrowed(token) }
}

fn parse_v4(token: &str, builder: &mut TargetSetBuilder) -> Result<(), TargetProblem> {
    if let Some((address, length)) = token.split_once('/') {
        let [a, b, c, d] = octets(address)?.map(|(low, high)| (low == high).then_some(low));
        let (Some(a), Some(b), Some(c), Some(d)) = (a, b, c, d) else { return Err(TargetProblem::PrefixOfRange) };
        let bits = u32::from_be_bytes([a, b, c, d]);
        let host_bits = u32::MAX.checked_shr(prefix(length, 32)?).unwrap_or(0);
        builder.v4.push(Span { first: bits & !host_bits, last: bits | host_bits });
        return Ok(());
    }
    // Two whole addresses: both sides of one dash have all their dots.
    if let Some((first, last)) = token.split_once('-').filter(|(first, last)| is_dotted(first) && is_dotted(last)) {
        let (first, last) = (single(first)?, single(last)?);
        builder.v4.push(Span::new(first, last).ok_or(TargetProblem::Backwards)?);
        return Ok(());
    }
    if token.bytes().all(|byte| byte == b'-') {
        return Err(TargetProblem::LoneDash);
    }
    let [a, b, c, d] = octets(token)?;
    let spans = octet_spans([a, b, c, d]);
    if spans.count > RANGES_MAX as u64 {
        return Err(TargetProblem::TooManyRanges { ranges: spans.count });
    }
    builder.v4.extend(spans.iter());
    Ok(())
}

/// Whether this has the dots of an address and no dash.
fn is_dotted(part: &str) -> bool {
    part.matches('.').count() == 3 && !part.contains('-')
}

fn single(address: &str) -> Result<u32, TargetProblem> {
    let octets = octets(address)?;
    if let Some((low, high)) = octets.iter().find(|(low, high)| low != high) {
        return Err(TargetProblem::Octet { part: format!("{low}-{high}") });
    }
    Ok(u32::from_be_bytes(octets.map(|(low, _)| low)))
}

/// The four octets of an address as inclusive ranges: `7` is 7-7, `1-9` is itself, `*` is 0-255.
fn octets(address: &str) -> Result<[(u8, u8); 4], TargetProblem> {
    let parts: Vec<&str> = address.split('.').collect();
    let &[a, b, c, d] = parts.as_slice() else { return Err(TargetProblem::Parts { parts: parts.len() }) };
    Ok([octet_range(a)?, octet_range(b)?, octet_range(c)?, octet_range(d)?])
}

fn octet_range(part: &str) -> Result<(u8, u8), TargetProblem> {
    if part == "*" {
        return Ok((0, 255));
    }
    let (low, high) = match part.split_once('-') {
        Some((low, high)) => (octet(low, part)?, octet(high, part)?),
        None => (octet(part, part)?, octet(part, part)?),
    };
    if low > high { Err(TargetProblem::Backwards) } else { Ok((low, high)) }
}

fn octet(digits: &str, part: &str) -> Result<u8, TargetProblem> {
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(TargetProblem::LeadingZero { part: part.to_owned() });
    }
    digits.parse().map_err(|_not_a_number| TargetProblem::Octet { part: part.to_owned() })
}

pub(super) fn prefix(length: &str, max: u8) -> Result<u32, TargetProblem> {
    if length.len() > 1 && length.starts_with('0') {
        return Err(TargetProblem::LeadingZero { part: length.to_owned() });
    }
    let parsed = length.parse::<u8>().ok().filter(|parsed| *parsed <= max && !length.starts_with('+'));
    parsed.map(u32::from).ok_or_else(|| TargetProblem::Prefix { length: length.to_owned(), max })
}

/// The spans that octet ranges stand for: one per choice of the octets before the last one that varies freely.
struct OctetSpans {
    octets: [(u8, u8); 4],
    /// How many trailing octets one span covers: the whole-range ones at the end, and the one before them.
    tail: usize,
    count: u64,
}

fn octet_spans(octets: [(u8, u8); 4]) -> OctetSpans {
    let whole = octets.iter().rev().take_while(|range| **range == (0, 255)).count();
    let tail = (whole + 1).min(4);
    let count = octets.iter().take(4 - tail).map(|(low, high)| u64::from(high - low) + 1).product();
    OctetSpans { octets, tail, count }
}

impl OctetSpans {
    fn iter(&self) -> impl Iterator<Item = Span<u32>> + '_ {
        (0..self.count).map(|choice| {
            let (mut rest, mut first, mut last) = (choice, 0_u32, 0_u32);
            for (position, (low, high)) in self.octets.iter().enumerate().rev() {
                let shift = 8 * (3 - position);
                let (mut from, mut to) = (*low, *high);
                if position < 4 - self.tail {
                    let width = u64::from(high - low) + 1;
                    let step = u8::try_from(rest % width).expect("below a width of at most 256");
                    rest /= width;
                    (from, to) = (low + step, low + step);
                }
                first |= u32::from(from) << shift;
                last |= u32::from(to) << shift;
            }
            Span { first, last }
        })
    }
}

fn parse_v6(token: &str) -> Result<Span<u128>, TargetProblem> {
    if token.contains('%') {
        return zone::parse_zoned(token);
    }
    let address = |part: &str| match part.parse::<Ipv6Addr>() {
        Ok(address) => Ok(address.to_bits()),
        Err(_) if part.starts_with('[') || part.matches(':').count() == 1 => Err(TargetProblem::NotAlone),
        Err(_) => Err(TargetProblem::V6 { part: part.to_owned() }),
    };
    if let Some((start, length)) = token.split_once('/') {
        let bits = address(start)?;
        let host_bits = u128::MAX.checked_shr(prefix(length, 128)?).unwrap_or(0);
        return Ok(Span { first: bits & !host_bits, last: bits | host_bits });
    }
    match token.split_once('-') {
        Some((first, last)) => Span::new(address(first)?, address(last)?).ok_or(TargetProblem::Backwards),
        None => address(token).map(Span::single),
    }
}

/// Whether a name is one that resolvers hand to `inet_aton`, which reads decimal, octal and hexadecimal numbers of one to
/// four parts: its last part is a number (WHATWG URL Standard, "ends in a number").
pub(crate) fn ends_in_number(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// A host name in lower case without its final dot, if it is one (RFC 1123 section 2.1; underscores are let
/// through because they are in use). Names that end in a hexadecimal number pass here: earlier releases took them, and
/// what they kept stays readable.
pub(super) fn valid_name(name: &str) -> Result<String, TargetProblem> {
    let problem = |why| Err(TargetProblem::Name { why });
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 {
        return problem("a name has at most 253 characters");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return problem("each part between dots has 1 to 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return problem("no part begins or ends with a dash");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return problem("only letters, digits, dashes and dots may be in a name");
        }
    }
    // What is typed so is read as IPv4, so an encoded set must not hold it as a name.
    if name.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
        return problem("digits, dots and dashes alone are an address or a range of them");
    }
    // RFC 3696 section 2: the last part is never all digits, so that no name can be taken for an address.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return problem("the last part of a name is never a number");
    }
    Ok(name.to_ascii_lowercase())
}
