//! How two names relate: NISTIR 7696, table 6-2 for attributes and table 6-4 for names.

use super::value::{Open, Value};
use super::{Cpe, Part};

/// How a pattern relates to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// They name the same.
    Equal,
    /// The pattern names more: it holds for the name.
    Superset,
    /// The pattern names less: it may hold for the name, which does not say enough.
    Subset,
    /// They have nothing in common.
    Disjoint,
}

impl Cpe {
    /// How this name, as the pattern, relates to `name`; `None` where the standard leaves it undefined.
    #[must_use]
    pub fn relation(&self, name: &Self) -> Option<Relation> {
        self.relation_but(name, &[])
    }

    /// Like [`relation`](Self::relation), without looking at versions and updates, which ranges speak for.
    #[must_use]
    pub fn product_relation(&self, name: &Self) -> Option<Relation> {
        self.relation_but(name, &[2, 3])
    }

    fn relation_but(&self, name: &Self, left_out: &[usize]) -> Option<Relation> {
        let attributes = self.attributes.iter().zip(&name.attributes).enumerate();
        let attributes = attributes
            .filter(|(place, _)| !left_out.contains(place))
            .map(|(_, (pattern, value))| of_values(pattern, value));
        let relations: Vec<Option<Relation>> = attributes.chain([Some(of_parts(self.part, name.part))]).collect();
        let all = |wanted: Relation| {
            relations
                .iter()
                .all(|relation| matches!(relation, Some(found) if *found == wanted || *found == Relation::Equal))
        };
        if relations.contains(&Some(Relation::Disjoint)) {
            Some(Relation::Disjoint)
        } else {
            [Relation::Equal, Relation::Superset, Relation::Subset].into_iter().find(|relation| all(*relation))
        }
    }
}

fn of_parts(pattern: Part, name: Part) -> Relation {
    match (pattern, name) {
        (pattern, name) if pattern == name => Relation::Equal,
        (Part::Any, _) => Relation::Superset,
        (_, Part::Any) => Relation::Subset,
        _ => Relation::Disjoint,
    }
}

fn of_values(pattern: &Value, value: &Value) -> Option<Relation> {
    let is_open = |value: &Value| matches!(value, Value::Text { .. }) && value.literal().is_none();
    match (pattern, value) {
        (_, value) if is_open(value) => None,
        (Value::Any, Value::Any) | (Value::NotApplicable, Value::NotApplicable) => Some(Relation::Equal),
        (Value::Any, _) => Some(Relation::Superset),
        (_, Value::Any) => Some(Relation::Subset),
        (Value::NotApplicable, _) | (_, Value::NotApplicable) => Some(Relation::Disjoint),
        (Value::Text { before, text, after }, Value::Text { text: whole, .. }) => {
            Some(if !is_open(pattern) && text == whole {
                Relation::Equal
            } else if is_open(pattern) && holds(*before, text, *after, whole) {
                Relation::Superset
            } else {
                Relation::Disjoint
            })
        }
    }
}

/// Whether `text` is in `whole` with no more around it than its ends allow.
fn holds(before: Open, text: &str, after: Open, whole: &str) -> bool {
    let allows = |open: Open, left: usize| match open {
        Open::Closed => left == 0,
        Open::UpTo(count) => left <= count,
        Open::Any => true,
    };
    let starts = 0..=whole.len().saturating_sub(text.len());
    starts.into_iter().any(|start| {
        whole.get(start..).is_some_and(|rest| {
            rest.starts_with(text) && allows(before, start) && allows(after, rest.len() - text.len())
        })
    })
}
