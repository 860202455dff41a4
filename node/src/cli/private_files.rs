//! Files of a user that are a secret, or say where one is shown: said once of each that others on this machine can read or
//! change, with the command that mends it, as a node does of its own.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::context::Context;

/// Permissions of a file's group, and of everybody else.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// Says of those of the files that others can read or change that they can; of each once, however often a command asks.
pub(super) fn warn_of_others<'a>(files: impl IntoIterator<Item = &'a Path>, context: &Context) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    for file in files {
        let Some(why) = open_to_others(file) else { continue };
        if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned()) {
            context.warn(why);
        }
    }
}

/// Who else can read or change a file of this user, and what mends that; `None` where nobody can. What is another user's, as a
/// secret that is mounted into a container, is not this user's to mend.
fn open_to_others(file: &Path) -> Option<String> {
    let found = std::fs::metadata(file).ok()?;
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return None;
    }
    let who = match found.mode() {
        mode if mode & OTHERS != 0 => "everybody on this machine",
        mode if mode & GROUP != 0 => "its group",
        _ => return None,
    };
    let file = file.display();
    Some(format!("{who} can read or change {file}; for its owner alone: chmod 600 {file}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_can_read_or_change_is_told_of_with_the_command_that_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        assert_eq!(open_to_others(&file), None, "there is none");
        std::fs::write(&file, "pna_1\n").unwrap();
        for (mode, who) in [(0o644, "everybody"), (0o602, "everybody"), (0o640, "its group"), (0o660, "its group")] {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            let said = open_to_others(&file).unwrap_or_default();
            assert!(said.starts_with(who) && said.ends_with(&format!("chmod 600 {}", file.display())), "{said}");
        }
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(open_to_others(&file), None, "{mode:o}");
        }
    }
}
