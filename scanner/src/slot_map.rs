//! Slots that are used again, found by keys that are not.
//!
//! Hosts, probes in flight and sockets come and go a hundred thousand times a second and are named by events that
//! may arrive after they have gone. A key holds its slot's generation, so a late event finds nothing instead of
//! whoever lives there now.

/// Names one value of a slot map, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Number of the slot: below the most values ever held at once.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// The key as one number, for the kernel to keep.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`Self::to_bits`] made a number of.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "each half is what is wanted")]
        let (index, generation) = (bits as u32, (bits >> 32) as u32);
        Self { index, generation }
    }
}

/// A slot: its generation, and its value or nothing.
type Slot<T> = (u32, Option<T>);

/// Values in slots that are used again.
#[derive(Debug)]
pub(crate) struct SlotMap<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for SlotMap<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> SlotMap<T> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = self.slots.get_mut(index as usize).expect("a free slot was in use once");
            slot.1 = Some(value);
            return Key { index, generation: slot.0 };
        }
        let index = u32::try_from(self.slots.len()).expect("fewer values than a u32 counts are ever in memory");
        self.slots.push((0, Some(value)));
        Key { index, generation: 0 }
    }

    /// Every value, in no order that means anything.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.1.as_ref())
    }

    /// The same, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.1.as_mut())
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.index()).filter(|slot| slot.0 == key.generation)?.1.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.index()).filter(|slot| slot.0 == key.generation)?.1.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index()).filter(|slot| slot.0 == key.generation)?;
        let value = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// Every value with its key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let slots = (0_u32..).zip(&self.slots);
        slots.filter_map(|(index, (generation, value))| Some((Key { index, generation: *generation }, value.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_value_that_has_gone_finds_nothing() {
        let mut slot_map = SlotMap::default();
        let a = slot_map.insert("a");
        assert_eq!(slot_map.remove(a), Some("a"));
        let b = slot_map.insert("b");
        assert_eq!(a.index(), b.index(), "the slot is used again");
        assert_eq!(slot_map.remove(a), None);
        assert_eq!((slot_map.get(a), slot_map.get(b)), (None, Some(&"b")));
        assert_eq!(Key::from_bits(b.to_bits()), b);
        assert_eq!(slot_map.iter().collect::<Vec<_>>(), [(b, &"b")]);
        slot_map.values_mut().for_each(|value| *value = "c");
        assert_eq!(slot_map.values().collect::<Vec<_>>(), [&"c"]);
        assert_eq!((slot_map.len(), slot_map.is_empty()), (1, false));
    }
}
