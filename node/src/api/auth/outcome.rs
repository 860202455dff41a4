//! What came of an order, for the audit log: noted when its answer is there, or when nobody waits for that any more.

use axum::response::Response;
use pentora_raft::command::Author;

use crate::trail::Trail;

/// By which entry of the audit log a request was asked for.
#[derive(Debug, Clone)]
pub(in crate::api) struct AskedAs {
    /// By whom.
    pub(in crate::api) author: Author,
    /// For what, in its words.
    pub(in crate::api) action: String,
    /// Its number.
    pub(in crate::api) asked: u64,
}

/// On an answer: what came of the request is in the audit log by the order's own entry.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct AlreadyNoted;

/// What is noted of an order whose asker went before it was answered.
const GONE: u16 = 499;

/// Notes what came of an order when it is dropped.
pub(super) struct Pending<'a> {
    trail: &'a Trail,
    author: Author,
    action: String,
    /// On what it was done, as far as its answer tells.
    pub(super) object: String,
    asked: u64,
    status: u16,
    is_noted: bool,
}

impl<'a> Pending<'a> {
    /// What was asked under this number, unanswered so far.
    pub(super) fn new(trail: &'a Trail, author: Author, action: String, asked: u64) -> Self {
        Self { trail, author, action, object: String::new(), asked, status: GONE, is_noted: false }
    }

    /// It was answered with this.
    pub(super) fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.is_noted = response.extensions().get::<AlreadyNoted>().is_some();
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.is_noted {
            return;
        }
        let object = std::mem::take(&mut self.object);
        self.trail.answered(&self.author, &self.action, object, self.asked, self.status);
    }
}
