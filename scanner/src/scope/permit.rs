//! What a unit may send to, changed live by its owner: what is forbidden while it runs gets no packet more.
//!
//! The gate asks before each send. Whoever owns the unit writes here what the cluster and the node allow from now on.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::Scope;
use crate::target::{TargetSet, without_zone};

/// What may be sent to at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permitted {
    /// The addresses that may be scanned.
    pub scope: Scope,
    /// Addresses that may not, wherever they are. Names in it protect nothing here: their addresses have to be in it.
    pub exclude: TargetSet,
}

impl Permitted {
    fn excludes(&self, address: IpAddr) -> bool {
        self.exclude.contains(address) || self.exclude.contains(without_zone(address))
    }
}

/// What may be sent to, live. Shared by everything that sends for a unit.
#[derive(Debug, Default)]
pub struct Permit(RwLock<Permitted>);

/// Why an address may not be sent to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPermitted {
    /// It is not in the scope.
    Outside,
    /// It is excluded.
    Excluded,
}

impl Permit {
    /// What `permitted` says, until it is set again.
    #[must_use]
    pub fn new(permitted: Permitted) -> Self {
        Self(RwLock::new(permitted))
    }

    /// From now on: the next send already obeys it.
    pub fn set(&self, permitted: Permitted) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = permitted;
    }

    /// As it is now.
    #[must_use]
    pub fn get(&self) -> Permitted {
        self.read().clone()
    }

    /// Checks that every address of a set is inside the scope, as [`Scope::check`].
    ///
    /// # Errors
    /// The first range outside.
    pub(crate) fn check(&self, targets: &TargetSet) -> Result<(), super::ScopeError> {
        self.read().scope.check(targets)
    }

    /// Why nothing may be sent to an address now; `None` where it may.
    pub(crate) fn denies(&self, address: IpAddr) -> Option<NotPermitted> {
        let permitted = self.read();
        if !permitted.scope.contains(address) {
            return Some(NotPermitted::Outside);
        }
        permitted.excludes(address).then_some(NotPermitted::Excluded)
    }

    fn read(&self) -> RwLockReadGuard<'_, Permitted> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Scope> for Permit {
    /// All of a scope, for good.
    fn from(scope: Scope) -> Self {
        Self::new(Permitted { scope, exclude: TargetSet::default() })
    }
}

impl From<Scope> for std::sync::Arc<Permit> {
    fn from(scope: Scope) -> Self {
        Self::new(Permit::from(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_holds_for_the_next_address_asked_about() {
        let permit = Permit::default();
        let ask = |address: &str| permit.denies(address.parse().unwrap());
        assert_eq!([ask("10.0.0.1"), ask("192.0.2.1")], [None, Some(NotPermitted::Outside)]);
        let scope = Scope::new(&["192.0.2.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        permit.set(Permitted { scope, exclude: "10.0.0.1,192.0.2.8/30".parse().unwrap() });
        assert_eq!([ask("10.0.0.1"), ask("192.0.2.9")], [Some(NotPermitted::Excluded); 2]);
        assert_eq!([ask("10.0.0.2"), ask("192.0.2.1")], [None, None]);
        assert_eq!(ask("::ffff:10.0.0.1"), Some(NotPermitted::Excluded), "the same address in other words");
    }
}
