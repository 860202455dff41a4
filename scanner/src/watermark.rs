//! How far a unit is settled for whoever reads it behind a stage that asks more about its hosts: as far as the scan has
//! settled it, its findings were passed on, and no question about a target is out.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::tally::Tally;
use crate::unit::UnitProgress;

/// How far everything is settled.
#[derive(Debug)]
pub(crate) struct Watermark {
    pub(crate) scanning: watch::Receiver<UnitProgress>,
    progress: watch::Sender<UnitProgress>,
    /// What the scan said last, and how many of its batches have to be passed on before that is so for the reader.
    said: Option<(u64, usize)>,
    pub(crate) settled: u64,
    /// Questions that are out or wait for it, by target.
    asking: BTreeMap<u64, u32>,
    /// How many that are.
    questions: u64,
    /// Set once nothing is scanned any more: whether the questions draw on the unit's budget.
    ended: Option<bool>,
    /// What is counted beside the scan.
    pub(crate) more: Tally,
    /// Open ports of the scan that have turned out to mean nothing.
    pub(crate) fewer_open: u64,
}

impl Watermark {
    pub(crate) fn new(scanning: watch::Receiver<UnitProgress>, progress: watch::Sender<UnitProgress>) -> Self {
        Self {
            scanning,
            progress,
            said: None,
            settled: 0,
            asking: BTreeMap::new(),
            questions: 0,
            ended: None,
            more: Tally::default(),
            fewer_open: 0,
        }
    }

    /// The scan's figures have changed, with so many batches unread.
    pub(crate) fn hear(&mut self, unread: usize) {
        if self.said.is_none() {
            self.said = Some((self.scanning.borrow_and_update().settled_until, unread));
        }
        self.tell();
    }

    /// A batch of the scan's was passed on.
    pub(crate) fn passed(&mut self) {
        if let Some((_, unread)) = &mut self.said {
            *unread = unread.saturating_sub(1);
        }
        self.tell();
    }

    /// Something more is asked about a target.
    pub(crate) fn asked(&mut self, index: u64) {
        *self.asking.entry(index).or_default() += 1;
        self.questions += 1;
    }

    /// Nothing is scanned any more; the questions that are still out draw on the unit's budget, or on none.
    pub(crate) fn scan_ended(&mut self, are_paced: bool) {
        self.ended = Some(are_paced);
        self.tell();
    }

    /// What was answered to a question about each of these targets was passed on.
    pub(crate) fn answered(&mut self, indexes: impl Iterator<Item = u64>) {
        for index in indexes {
            if let Some(left) = self.asking.get_mut(&index) {
                *left -= 1;
                self.questions -= 1;
                if *left == 0 {
                    self.asking.remove(&index);
                }
            }
        }
        self.tell();
    }

    /// The scan's figures with what is counted beside it.
    pub(crate) fn counted(&self, scanned: Tally) -> Tally {
        let all = scanned + self.more;
        Tally { open_ports: all.open_ports.saturating_sub(self.fewer_open), ..all }
    }

    /// Tells the figures as they are now.
    pub(crate) fn tell(&mut self) {
        if let Some((settled, 0)) = self.said {
            (self.settled, self.said) = (settled, None);
        }
        let first = self.asking.keys().next().copied().unwrap_or(u64::MAX);
        let scanned = *self.scanning.borrow();
        let still_asked = match self.ended {
            Some(are_paced) => Some(if are_paced { self.questions } else { 0 }),
            None => scanned.still_asked,
        };
        let (settled_until, tally) = (self.settled.min(first), self.counted(scanned.tally));
        let figures = UnitProgress { settled_until, tally, still_asked, ..scanned };
        self.progress.send_if_modified(|told| std::mem::replace(told, figures) != figures);
    }
}
