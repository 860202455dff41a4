//! The products of one advisory while it is read: as many as any real advisory has, and no more.
//!
//! A record is bounded in bytes, but what is made of it is not by that: one list of versions counts for each name of its
//! product, one list of systems for each product on them, and each product becomes a row with all that the advisory says.

use crate::vuln::advisory::{Affected, RANGES_MAX};
use crate::vuln::version::Range;

/// Most products of one advisory; the longest of real records name about 2,000.
pub(super) const PRODUCTS_MAX: usize = 20_000;
/// Most ranges and systems of one advisory, over all its products.
const PARTS_MAX: usize = 200_000;
/// Most systems that one product is told apart by; with more of them it counts as affected on any.
pub(super) const PLATFORMS_MAX: usize = 500;

/// Products in the order in which they were added. What is beyond the limits is left out.
#[derive(Debug, Default)]
pub(super) struct Products {
    all: Vec<Affected>,
    parts: usize,
}

impl Products {
    /// Whether nothing more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= PRODUCTS_MAX || self.parts >= PARTS_MAX
    }

    /// Adds a product and tells its place; `None` when there is no room.
    pub(super) fn add(&mut self, mut affected: Affected) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        affected.affected.truncate(PARTS_MAX - self.parts);
        self.parts += affected.affected.len();
        affected.unaffected.truncate(PARTS_MAX - self.parts);
        self.parts += affected.unaffected.len();
        // A product that is wrongly said to be affected is looked at; one that is left out is not.
        if affected.platforms.len() > PLATFORMS_MAX.min(PARTS_MAX - self.parts) {
            affected.platforms.clear();
        }
        self.parts += affected.platforms.len();
        self.all.push(affected);
        Some(self.all.len() - 1)
    }

    /// Adds a range to the product at this place.
    pub(super) fn add_range(&mut self, place: usize, range: Range) {
        if let Some(affected) = self.all.get_mut(place).filter(|known| known.affected.len() < RANGES_MAX)
            && self.parts < PARTS_MAX
        {
            affected.affected.push(range);
            self.parts += 1;
        }
    }

    /// All of them.
    pub(super) fn into_all(self) -> Vec<Affected> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vuln::version::Scheme;

    fn product(ranges: usize, platforms: usize) -> Affected {
        Affected {
            affected: vec![Range::all(Scheme::Dotted); ranges],
            platforms: vec!["cpe:2.3:h:a:b".to_owned(); platforms],
            ..Affected::default()
        }
    }

    #[test]
    fn products_ranges_and_systems_end_at_their_limits() {
        let mut many = Products::default();
        while many.add(product(1, 0)).is_some() {}
        assert_eq!(many.into_all().len(), PRODUCTS_MAX);

        let mut long = Products::default();
        while long.add(product(RANGES_MAX, 3)).is_some() {}
        long.add_range(0, Range::all(Scheme::Dotted));
        let long = long.into_all();
        assert_eq!(long.iter().map(|kept| kept.affected.len() + kept.platforms.len()).sum::<usize>(), PARTS_MAX);
        assert!(long.iter().any(|kept| kept.platforms.len() == 3));
    }

    #[test]
    fn too_many_systems_are_any_system() {
        let mut products = Products::default();
        products.add(product(1, PLATFORMS_MAX));
        products.add(product(1, PLATFORMS_MAX + 1));
        let counts: Vec<usize> = products.into_all().iter().map(|kept| kept.platforms.len()).collect();
        assert_eq!(counts, [PLATFORMS_MAX, 0]);
    }
}
