//! Whose files a process goes by: its own user's and the superuser's, whatever others may do with theirs.

use std::fs;

/// The user that stands for all whom a user namespace does not know (user_namespaces(7)).
const NOBODY_FILE: &str = "/proc/sys/kernel/overflowuid";
/// Which users this process's namespace knows.
const MAP_FILE: &str = "/proc/self/uid_map";

/// The users whose files are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Believed {
    own: u32,
    /// Who asked for this by sudo: the files that they name are theirs.
    asked: Option<u32>,
    /// In a namespace that does not know all users, those it does not know: root of the machine is one of them, and nobody can tell.
    unknown: Option<u32>,
}

impl Believed {
    /// Those of this process.
    pub(super) fn here() -> Self {
        let own = nix::unistd::geteuid().as_raw();
        let asked = std::env::var("SUDO_UID").ok().filter(|_| own == 0).and_then(|uid| uid.parse().ok());
        let map = fs::read_to_string(MAP_FILE).unwrap_or_default();
        let unknown = fs::read_to_string(NOBODY_FILE).ok().and_then(|uid| uid.trim().parse().ok());
        Self { own, asked, unknown: unknown.filter(|_| !knows_all(&map)) }
    }

    /// Whether what this user owns is believed.
    pub(super) fn has(&self, user: u32) -> bool {
        user == 0 || user == self.own || [self.asked, self.unknown].contains(&Some(user))
    }
}

/// Whether a namespace of this map knows all users.
fn knows_all(map: &str) -> bool {
    let known = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    known.sum::<u64>() >= u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superuser_the_process_and_who_asked_for_it_are_believed_and_nobody_else() {
        let believed = Believed { own: 1_000, asked: None, unknown: None };
        assert!(believed.has(0) && believed.has(1_000) && !believed.has(1_001) && !believed.has(65_534));
        let by_sudo = Believed { own: 0, asked: Some(1_000), unknown: Some(65_534) };
        assert!(by_sudo.has(1_000) && by_sudo.has(65_534) && !by_sudo.has(1_001));
        assert!(knows_all("         0          0 4294967295\n"));
        assert!(!knows_all("         0       1000          1\n") && !knows_all(""));
    }
}
