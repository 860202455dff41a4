//! How many streams of each class a peer has open towards us, counted so that it cannot open more than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Class;

/// One peer's counters. They outlive a connection, because its streams may.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: [AtomicUsize; Class::ALL.len()],
}

impl Slots {
    /// Takes a place for one more stream of `class`, or `None` when the peer has all it may have.
    pub(crate) fn take(self: &Arc<Self>, class: Class) -> Option<Slot> {
        let more = |open: usize| (open < class.inbound_streams_max()).then_some(open + 1);
        self.counter(class).fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Slot { slots: Arc::clone(self), class })
    }

    fn counter(&self, class: Class) -> &AtomicUsize {
        self.open.get(class.index()).expect("there is a counter for every class")
    }
}

/// A taken place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    class: Class,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.counter(self.class).fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_its_number_of_places_and_gets_them_back() {
        let slots = Arc::new(Slots::default());
        for class in Class::ALL {
            let taken: Vec<Slot> = std::iter::from_fn(|| slots.take(class)).collect();
            assert_eq!(taken.len(), class.inbound_streams_max());
            drop(taken);
            assert!(slots.take(class).is_some());
        }
    }
}
