//! What is scanned: sorted, merged address ranges and host names, as one index space.
//!
//! A [`TargetSet`] answers `get(i)` for every `i` below `count()` by binary search over its ranges, so that
//! `10.0.0.0/8` costs as much as one address and a unit of work is two numbers. Exclusions are subtracted before
//! anything is indexed. IPv4 addresses come first, then IPv6 addresses, then host names, each in ascending order.
//!
//! Names are only kept here; the scanning node resolves them (`io::resolve`) and holds every address against the
//! scope and the exclusions again.

pub(crate) mod address_set;
mod line;
mod link;
mod parse;
pub(crate) mod range;
mod sample;
pub(crate) mod text;
mod wire;
mod zone;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::address_set::AddressRange;
use self::address_set::AddressSet;
use self::line::Purpose;
pub use self::link::{Attached, LinkRange};

pub(crate) use self::parse::ends_in_number;
use self::parse::is_mask;
pub use self::parse::{TargetError, TargetProblem};
use self::range::{Indexed, RangeSet, Span};
pub use self::text::{Lines, TextError, TextProblem, decode_text, lines};
pub use self::zone::{Zoned, without_zone, zone_of};
pub(crate) use self::zone::{of_socket, on_interface, socket_address};

/// Most ranges a set may hold after merging: a file of two million scattered addresses, in 32 MiB.
pub const RANGES_MAX: usize = 2 << 20;
/// Most host names a set may hold: each has to be resolved, which no node does for more in reasonable time.
pub const NAMES_MAX: usize = 1 << 20;

/// One target of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// An address, never an IPv4-mapped IPv6 one.
    Address(IpAddr),
    /// A host name in lower case, to be resolved by the node that scans it.
    Name(&'a str),
}

/// Addresses and host names, each counted once, found by index.
///
/// Memory is proportional to the number of ranges and names. The serialised form is compact (gaps and lengths)
/// and is checked when read, so a set from a peer keeps every property of one parsed here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "wire::Wire", into = "wire::Wire")]
pub struct TargetSet {
    v4: Indexed<u32>,
    v6: Indexed<u128>,
    names: Vec<String>,
}

/// Parses targets separated by white space, commas or line ends (see [`lines`]); `#` starts a comment that ends with its
/// line.
///
/// A target is an address, a network (`10.0.0.0/8`, `2001:db8::/64`), a range (`10.0.0.1-10.0.0.20`,
/// `10.0.0.1-20`), octet ranges (`10.0-3.1-254.*`) or a host name. Lines `range = ...` and `exclude = ...` are read as
/// masscan reads them. `origin` names the text in errors: a file name, or what the user would call it.
///
/// # Errors
/// The first token that is no target, with its line and column, or a set beyond this module's limits.
pub fn parse_targets(text: &str, origin: &str) -> Result<TargetSet, TargetError> {
    let mut builder = TargetSetBuilder::default();
    builder.add_text(text, origin)?;
    builder.build()
}

impl TargetSet {
    /// Starts a set that is made from several texts, networks and sets.
    #[must_use]
    pub fn builder() -> TargetSetBuilder {
        TargetSetBuilder::default()
    }

    /// How many targets there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.address_count().saturating_add(self.name_count())
    }

    /// Whether every target has an index: there are at most `u64::MAX`. Sets to leave out may be larger.
    #[must_use]
    pub fn is_countable(&self) -> bool {
        let addresses = self.v4.count().checked_add(self.v6.count());
        let all = addresses.and_then(|count| count.checked_add(self.name_count()));
        self.v6.is_countable() && all.is_some()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many of the targets are addresses; they have the indexes below this number.
    #[must_use]
    pub fn address_count(&self) -> u64 {
        self.v4.count().saturating_add(self.v6.count())
    }

    /// How many of the targets are names; they have the indexes from [`Self::address_count`] on.
    #[must_use]
    pub fn name_count(&self) -> u64 {
        self.names.len() as u64
    }

    /// The target at an index, or `None` from [`Self::count`] on. Logarithmic in the number of ranges.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<Target<'_>> {
        if let Some(bits) = self.v4.get(index) {
            return Some(Target::Address(Ipv4Addr::from_bits(bits).into()));
        }
        let index = index - self.v4.count();
        if let Some(bits) = self.v6.get(index) {
            return Some(Target::Address(Ipv6Addr::from_bits(bits).into()));
        }
        let index = usize::try_from(index - self.v6.count()).ok()?;
        self.names.get(index).map(|name| Target::Name(name))
    }

    /// The index of an address, if it is in the set.
    #[must_use]
    pub fn position(&self, address: IpAddr) -> Option<u64> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.position(address.to_bits()),
            IpAddr::V6(address) => self.v4.count().checked_add(self.v6.position(address.to_bits())?),
        }
    }

    /// Whether an address is in the set, alone or in a range. Names are not resolved for the answer.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.set().contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.set().contains(address.to_bits()),
        }
    }

    /// Whether a host name was given as a target, in any case of letters.
    #[must_use]
    pub fn contains_name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.names.binary_search(&name).is_ok()
    }

    /// The set without the addresses and names of another.
    #[must_use]
    pub fn exclude(&self, excluded: &Self) -> Self {
        let names = self.names.iter().filter(|name| excluded.names.binary_search(name).is_err());
        let mut addresses = excluded.addresses();
        addresses.v6 = zone::in_every_zone(addresses.v6, self.v6.set());
        Self::from_subset(self.addresses().subtract(&addresses), names.cloned().collect())
    }

    /// The addresses of the set that lie in any of these networks. Names have no address yet, so none is kept.
    #[must_use]
    pub fn intersect_nets(&self, nets: &[IpNet]) -> Self {
        Self::from_subset(self.addresses().intersect(&AddressSet::from_nets(nets)), Vec::new())
    }

    /// The addresses that raw packets suit, and what is scanned with connections alone: host names, and link-local addresses
    /// of a zone.
    #[must_use]
    pub fn apart(&self) -> (Self, Self) {
        let (mut zoned, mut plain) = (Vec::new(), Vec::new());
        for span in self.v6.set().spans() {
            if zone::has_zone(*span) { zoned.push(*span) } else { plain.push(*span) }
        }
        let v4 = self.v4.set().clone();
        let plain = AddressSet { v4, v6: RangeSet::from_spans(plain) };
        let zoned = AddressSet { v4: RangeSet::default(), v6: RangeSet::from_spans(zoned) };
        (Self::from_subset(plain, Vec::new()), Self::from_subset(zoned, self.names.clone()))
    }

    /// Whether any address has a zone, which means something on this machine only.
    #[must_use]
    pub fn has_zones(&self) -> bool {
        self.v6.set().spans().iter().any(|span| zone::has_zone(*span))
    }

    /// The set without the addresses in these networks. Names are kept.
    #[must_use]
    pub fn subtract_nets(&self, nets: &[IpNet]) -> Self {
        Self::from_subset(self.addresses().subtract(&AddressSet::from_nets(nets)), self.names.clone())
    }

    /// The address ranges, merged and ascending, IPv4 before IPv6.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> + '_ {
        address_set::ranges(self.v4.set(), self.v6.set())
    }

    /// The host names, ascending.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        self.names.iter().map(String::as_str)
    }

    pub(crate) fn addresses(&self) -> AddressSet {
        AddressSet { v4: self.v4.set().clone(), v6: self.v6.set().clone() }
    }

    fn from_subset(addresses: AddressSet, names: Vec<String>) -> Self {
        Self { v4: Indexed::new(addresses.v4), v6: Indexed::new(addresses.v6), names }
    }
}

impl fmt::Display for TargetSet {
    /// Ranges and names separated by commas, in a form that [`parse_targets`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for range in self.ranges() {
            let text = range.to_string();
            // Behind another one an address that looks like a mask is read as one.
            let length = match range.first {
                IpAddr::V4(_) if is_mask(&text, "0.0.0.0") => "/32",
                IpAddr::V6(_) if is_mask(&text, "") => "/128",
                _ => "",
            };
            write!(f, "{separator}{text}{length}")?;
            separator = ",";
        }
        for name in &self.names {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl FromStr for TargetSet {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_targets(text, "targets")
    }
}

/// Gathers targets from several sources; duplicates and overlaps are counted once.
#[derive(Debug, Clone, Default)]
pub struct TargetSetBuilder {
    v4: Vec<Span<u32>>,
    v6: Vec<Span<u128>>,
    names: Vec<String>,
    /// What lines `exclude = ...` of the texts name.
    excluded: Option<Box<Self>>,
    /// The last text, where it was one address: its mask may follow as a text of its own.
    alone: Option<String>,
}

impl TargetSetBuilder {
    /// Adds one address.
    pub fn add_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4.push(Span::single(address.to_bits())),
            IpAddr::V6(address) => self.v6.push(Span::single(address.to_bits())),
        }
    }

    /// Adds every target of a text, as [`parse_targets`] reads it.
    ///
    /// # Errors
    /// The first token that is no target, or more ranges or names than a set may hold. What was added before the
    /// bad token stays added.
    pub fn add_text(&mut self, text: &str, origin: &str) -> Result<(), TargetError> {
        line::parse_text(text, origin, Purpose::Targets, self)
    }

    /// Adds every target of a text that says what to leave out. It differs in lines `exclude = ...`, which belong to the
    /// set, and `range = ...`, which are refused.
    ///
    /// # Errors
    /// As [`Self::add_text`].
    pub fn add_exclusions(&mut self, text: &str, origin: &str) -> Result<(), TargetError> {
        line::parse_text(text, origin, Purpose::Exclusions, self)
    }

    /// What lines `exclude = ...` of the texts named so far, for the caller to leave out of all its targets. What is not
    /// taken is left out of this set when it is built.
    ///
    /// # Errors
    /// As [`Self::build_uncounted`].
    pub fn take_excluded(&mut self) -> Result<TargetSet, TargetError> {
        self.excluded.take().map_or_else(|| Ok(TargetSet::default()), |excluded| excluded.build_uncounted())
    }

    /// Adds every target of a set.
    pub fn add_set(&mut self, set: &TargetSet) {
        self.v4.extend(set.v4.set().spans());
        self.v6.extend(set.v6.set().spans());
        self.names.extend(set.names.iter().cloned());
    }

    /// Sorts, merges and counts what was added.
    ///
    /// # Errors
    /// More than `u64::MAX` targets, or more ranges or names than a set may hold.
    pub fn build(self) -> Result<TargetSet, TargetError> {
        let set = self.build_uncounted()?;
        match set.is_countable() {
            true => Ok(set),
            false => Err(TargetError::set(TargetProblem::TooManyTargets)),
        }
    }

    /// Sorts and merges what was added, however many addresses that are: for what is to be left out, or sampled.
    ///
    /// # Errors
    /// More ranges or names than a set may hold.
    pub fn build_uncounted(mut self) -> Result<TargetSet, TargetError> {
        let excluded = self.take_excluded()?;
        let set = self.build_all()?;
        Ok(if excluded.is_empty() { set } else { set.exclude(&excluded) })
    }

    fn build_all(mut self) -> Result<TargetSet, TargetError> {
        let addresses = AddressSet::from_spans(self.v4, self.v6);
        self.names.sort_unstable();
        self.names.dedup();
        let ranges = addresses.v4.spans().len() + addresses.v6.spans().len();
        if ranges > RANGES_MAX {
            return Err(TargetError::set(TargetProblem::TooManyRanges { ranges: ranges as u64 }));
        }
        if self.names.len() > NAMES_MAX {
            return Err(TargetError::set(TargetProblem::TooManyNames));
        }
        Ok(TargetSet::from_subset(addresses, self.names))
    }

    /// Merges what was gathered when it has grown past the limit, and says whether it still is beyond it.
    pub(crate) fn compact(&mut self) -> Result<(), TargetProblem> {
        if self.v4.len() + self.v6.len() > 2 * RANGES_MAX {
            let merged = AddressSet::from_spans(std::mem::take(&mut self.v4), std::mem::take(&mut self.v6));
            self.v4 = merged.v4.spans().to_vec();
            self.v6 = merged.v6.spans().to_vec();
            let ranges = self.v4.len() + self.v6.len();
            if ranges > RANGES_MAX {
                return Err(TargetProblem::TooManyRanges { ranges: ranges as u64 });
            }
        }
        if self.names.len() > 2 * NAMES_MAX {
            self.names.sort_unstable();
            self.names.dedup();
            if self.names.len() > NAMES_MAX {
                return Err(TargetProblem::TooManyNames);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "target/target_test.rs"]
mod tests;
