//! Files of a user that are a secret, or say where one is shown: said once of each that others on this machine can read or
//! change, with the command that mends it, as a node does of its own.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::context::Context;

/// Permissions of a file's group, and of everybody else.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;
const OTHERS_WRITE: u32 = 0o002;
/// In a folder with it, only an owner may exchange what is theirs.
const STICKY: u32 = 0o1000;

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

/// Who else can read, change or exchange a file that this user goes by, and what mends that; `None` where nobody can. What is the
/// superuser's, as a secret that is mounted into a container, is not this user's to mend.
fn open_to_others(file: &Path) -> Option<String> {
    let own = nix::unistd::geteuid().as_raw();
    let found = std::fs::metadata(file).ok()?;
    let theirs = another(&found, own).map(|uid| {
        let file = file.display();
        format!(
            "{file} is another user's (uid {uid}), who can change it; look at what is in it, then chown {own} {file}"
        )
    });
    theirs.or_else(|| exchangeable(file, own)).or_else(|| readable(file, &found, own))
}

/// Whose something is, where that is neither this user nor the superuser.
fn another(found: &Metadata, own: u32) -> Option<u32> {
    Some(found.uid()).filter(|uid| *uid != own && *uid != 0)
}

fn exchangeable(file: &Path, own: u32) -> Option<String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = std::fs::metadata(folder).ok()?;
    let (file, shown) = (file.display(), folder.display());
    if let Some(uid) = another(&found, own) {
        return Some(format!("another user (uid {uid}) can exchange {file}: {shown} is theirs"));
    }
    let is_open = found.mode() & OTHERS_WRITE != 0 && found.mode() & STICKY == 0;
    is_open.then(|| format!("everybody on this machine can exchange {file}; to mend it: chmod o-w {shown}"))
}

fn readable(file: &Path, found: &Metadata, own: u32) -> Option<String> {
    // What is no file is no place for a secret, which is told where it is read.
    if found.uid() != own || !found.is_file() {
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

    #[test]
    fn a_file_in_a_folder_where_anybody_can_exchange_it_or_of_another_user_is_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("contexts.json");
        std::fs::write(&file, "{}").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        for (mode, is_told) in [(0o777, true), (0o1777, false), (0o700, false)] {
            std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
            let said = open_to_others(&file).unwrap_or_default();
            assert_eq!(
                said.contains(&format!("chmod o-w {}", directory.path().display())),
                is_told,
                "{mode:o}: {said}"
            );
        }
        let found = std::fs::metadata(&file).unwrap();
        assert_eq!(another(&found, found.uid()), None);
        let other = another(&found, found.uid() + 1);
        assert_eq!(other, Some(found.uid()).filter(|uid| *uid != 0), "the superuser's is believed");
    }
}
