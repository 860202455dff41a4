//! What others on a machine may do with a data directory: read its secrets, put something into it, or another in its place; and the
//! same of a file that a node is given and goes by.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::owners::Believed;
use super::{API_CERTIFICATE, DataDirError, INSIDE_SINCE, OUTSIDE};

/// The files that are secrets.
pub(super) const SECRETS: [&str; 4] = ["mesh.key", "mesh.psk", "admin.token", API_CERTIFICATE];
/// What else is believed that is found there.
const BELIEVED: [&str; 8] = [OUTSIDE, INSIDE_SINCE, "node.id", "raft", "chunks", "feeds", "hand-in", "spool"];
/// Permissions of everybody but owner and group. A group may be let in: volumes of containers are handed over so.
const OTHERS: u32 = 0o007;
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
const GROUP: u32 = 0o070;
const GROUP_WRITE: u32 = 0o020;
/// In a directory with it, only an owner may exchange what is theirs.
const STICKY: u32 = 0o1000;
/// What is made in a directory with it is its group's: that group was let in.
const SET_GROUP: u32 = 0o2000;
/// Links on a way that are looked at, as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Whether this is the first process of a container of its own. There nobody else is to put something in a directory's place,
/// and volumes are often handed over writable for everybody (an `emptyDir` of Kubernetes always is).
pub(super) fn is_alone() -> bool {
    std::process::id() == 1
}

/// Whether nobody but owner and group reads the secrets in a data directory, or may put something into it or in its place; the
/// latter is not asked where the process `is_alone`.
///
/// # Errors
/// [`DataDirError::Exposed`] with the command that mends it.
pub(super) fn is_private(path: &Path, is_alone: bool) -> Result<(), DataDirError> {
    let whole = path.canonicalize().map_err(|source| DataDirError::Io { path: path.to_owned(), source })?;
    if !is_alone {
        if mode(&whole).is_ok_and(|mode| mode & OTHERS_WRITE != 0) {
            return exchangeable(&whole);
        }
        is_kept_in_place(&whole)?;
        for link in links(path) {
            is_led_to(&link, &whole)?;
        }
        is_owned(&whole)?;
        is_own(&whole)?;
    }
    for file in SECRETS.iter().map(|name| whole.join(name)) {
        let Ok(mode) = mode(&file) else { continue };
        if mode & OTHERS != 0 {
            let what = format!("{} is a secret, and everybody on this machine can read or change it", file.display());
            return exposed(what, format!("chmod 600 {}", file.display()));
        }
        if mode & GROUP != 0 && !is_alone {
            let file = file.display();
            tracing::warn!(%file, "its group can read or change a secret; for its owner alone: chmod 600 {file}");
        }
    }
    Ok(())
}

/// Whether a file that this node goes by, and each folder on its way, is of this process's user or the superuser, and nobody but its owner
/// and group may write it or put another in its place. In a container of its own there is nobody else.
///
/// # Errors
/// [`DataDirError::Exposed`] with the command that mends it. A file that is not there is said to be where it is read.
pub fn is_kept(file: &Path) -> Result<(), DataDirError> {
    is_kept_by(file, is_alone())
}

/// The same of a secret, which nobody but its owner and group may read either.
///
/// # Errors
/// As [`is_kept`].
pub fn is_secret(file: &Path) -> Result<(), DataDirError> {
    is_kept(file)?;
    if is_read_by_others(file) {
        let what = format!("{} is a secret, and everybody on this machine can read it", file.display());
        return exposed(what, format!("chmod 600 {}", file.display()));
    }
    Ok(())
}

/// Whether everybody on this machine reads a file; nobody else is there in a container of its own.
#[must_use]
pub fn is_read_by_others(file: &Path) -> bool {
    // What is no file is no place for a secret, which is told where it is read.
    !is_alone() && file.is_file() && mode(file).is_ok_and(|mode| mode & OTHERS_READ != 0)
}

fn is_kept_by(file: &Path, is_alone: bool) -> Result<(), DataDirError> {
    if is_alone {
        return Ok(());
    }
    let believed = Believed::here();
    // A pipe of this process's own leads nowhere, and a file may be put where none is yet.
    let whole = file.canonicalize().ok();
    if let Some((whole, found)) = whole.as_ref().and_then(|whole| Some((whole, std::fs::metadata(whole).ok()?))) {
        if found.mode() & OTHERS_WRITE != 0 && !found.file_type().is_char_device() {
            let what = format!("anybody on this machine can change {}, and this node goes by it", whole.display());
            return exposed(what, format!("chmod o-w {}", whole.display()));
        }
        is_of(whole, &found, file, &believed)?;
    }
    // A link that others may exchange leads where they like, also one between the first and the file.
    let links = links(file);
    for link in &links {
        if let Ok(found) = std::fs::symlink_metadata(link)
            && !believed.has(found.uid())
        {
            let link = link.display();
            let what = format!("{link} leads to what this node goes by, and is another user's (uid {})", found.uid());
            return exposed(what, format!("look where it leads, then chown -h {} {link}", nix::unistd::geteuid()));
        }
    }
    for place in [Some(file), whole.as_deref()].into_iter().flatten().chain(links.iter().map(PathBuf::as_path)) {
        let Ok(place) = std::path::absolute(place) else { continue };
        for above in place.ancestors().skip(1) {
            let Ok(found) = std::fs::metadata(above) else { continue };
            if found.mode() & OTHERS_WRITE != 0 && found.mode() & STICKY == 0 {
                let what = format!("anybody on this machine can exchange {}, and this node goes by it", file.display());
                return exposed(what, format!("chmod o-w {}", above.display()));
            }
            is_of(above, &found, file, &believed)?;
        }
    }
    Ok(())
}

/// Whether what is at `place`, the file that this node goes by or a folder on its way, is of somebody who is believed: its owner may
/// change it, whatever its mode says.
fn is_of(place: &Path, found: &Metadata, file: &Path, believed: &Believed) -> Result<(), DataDirError> {
    if believed.has(found.uid()) {
        return Ok(());
    }
    let (file, whose, place) = (file.display(), found.uid(), place.display());
    let (can, seen) = match found.is_dir() {
        true => (format!("exchange {file}: {place} is theirs"), "what is in it"),
        false => (format!("change {place}: it is theirs"), "it"),
    };
    let what = format!("another user (uid {whose}) can {can}, and this node goes by it");
    exposed(what, format!("look at {seen}, then chown {} {place}", nix::unistd::geteuid()))
}

/// Takes from others what they may do in a directory of this process's user that was there before the node; a group that was let in
/// on purpose stays.
pub(super) fn close(path: &Path, is_alone: bool) {
    let Ok(found) = std::fs::metadata(path) else { return };
    let mode = found.mode() & 0o7777;
    let is_open = mode & OTHERS != 0 || mode & GROUP_WRITE != 0 && mode & SET_GROUP == 0;
    if is_alone || !is_open || found.uid() != nix::unistd::geteuid().as_raw() {
        return;
    }
    let kept = if mode & SET_GROUP == 0 { mode & !(GROUP | OTHERS) } else { mode & !OTHERS };
    let path_shown = path.display();
    match std::fs::set_permissions(path, PermissionsExt::from_mode(kept)) {
        Ok(()) => tracing::info!(path = %path_shown, "others could look into the data directory, and cannot any more"),
        Err(error) => tracing::warn!(path = %path_shown, %error, "others can look into the data directory"),
    }
}

fn exposed(what: String, mend: String) -> Result<(), DataDirError> {
    Err(DataDirError::Exposed { what, mend })
}

fn exchangeable(directory: &Path) -> Result<(), DataDirError> {
    let what = format!("anybody may exchange what is in {}, the data directory among it", directory.display());
    exposed(what, format!("chmod o-w {}", directory.display()))
}

fn mode(path: &Path) -> io::Result<u32> {
    std::fs::metadata(path).map(|found| found.mode())
}

/// Whether nobody may put another in the place of what this leads to, or of a directory above it.
fn is_kept_in_place(whole: &Path) -> Result<(), DataDirError> {
    for above in whole.ancestors().skip(1) {
        // What cannot be looked at is in nobody's way: the directory itself was opened.
        let Ok(mode) = mode(above) else { continue };
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return exchangeable(above);
        }
    }
    Ok(())
}

/// Whether a link on the way is as hard to exchange as what it leads to.
fn is_led_to(link: &Path, whole: &Path) -> Result<(), DataDirError> {
    let Some(Ok(parent)) = link.parent().map(Path::canonicalize) else { return Ok(()) };
    let place = parent.join(link.file_name().unwrap_or_default());
    is_kept_in_place(&place)?;
    let is_open = mode(&parent).is_ok_and(|mode| mode & OTHERS_WRITE != 0);
    let is_ours = std::fs::symlink_metadata(&place).is_ok_and(|found| is_trusted(found.uid(), None));
    if is_open && !is_ours {
        let what = format!("{} leads to the data directory, and is another user's", place.display());
        return exposed(what, format!("name {} itself", whole.display()));
    }
    Ok(())
}

/// Whether the directory is of somebody who is believed, and nobody else may have put something into it: its owner and whoever may write
/// it read and exchange whatever is in it. An empty one of this process's user is taken as it is, and closed; what is made in it is
/// not others'.
fn is_owned(whole: &Path) -> Result<(), DataDirError> {
    let found = std::fs::metadata(whole).map_err(|source| DataDirError::Io { path: whole.to_owned(), source })?;
    let (user, own, shown) = (found.uid(), nix::unistd::geteuid(), whole.display());
    if !Believed::here().has(user) {
        let what = format!(
            "the data directory {shown} belongs to another user (uid {user}), who can read and change what is in it"
        );
        return exposed(what, format!("start it as that user; or look at what is in it, then chown -R {own} {shown}"));
    }
    let is_let_in = found.mode() & SET_GROUP != 0;
    let is_new = user == own.as_raw() && std::fs::read_dir(whole).is_ok_and(|mut entries| entries.next().is_none());
    if found.mode() & GROUP_WRITE != 0 && !is_let_in && !is_new {
        let what = format!("the group (gid {}) of the data directory {shown} can exchange what is in it", found.gid());
        return exposed(what, format!("look at what is in it, then chmod g-w {shown}"));
    }
    Ok(())
}

/// Whether what is believed in the directory was put there by its owner, by this process's user or by the superuser.
fn is_own(whole: &Path) -> Result<(), DataDirError> {
    let owner = std::fs::metadata(whole).ok().map(|found| found.uid());
    for file in SECRETS.iter().chain(&BELIEVED).map(|name| whole.join(name)) {
        let Ok(found) = std::fs::symlink_metadata(&file) else { continue };
        if !is_trusted(found.uid(), owner) {
            let file = file.display();
            let what = format!("{file} was put there by another user (uid {})", found.uid());
            let mend = format!("look at it, then remove it or chown {} {file}", nix::unistd::geteuid());
            return exposed(what, mend);
        }
    }
    Ok(())
}

fn is_trusted(user: u32, owner: Option<u32>) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw() || owner == Some(user)
}

/// The links that are followed on the way to a path, each where it is.
fn links(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Without a current directory the path itself could not have been opened either.
    let mut ways = std::path::absolute(path).map(|path| vec![path]).unwrap_or_default();
    while let Some(way) = ways.pop() {
        for place in way.ancestors() {
            let Ok(target) = std::fs::read_link(place) else { continue };
            if found.len() >= LINKS_MAX {
                return found;
            }
            if !found.iter().any(|known| known == place) {
                ways.push(place.parent().unwrap_or(place).join(target));
                found.push(place.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::super::DataDir;
    use super::*;

    /// Some user other than the tests' and root.
    const STRANGER: u32 = 54_321;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn refused(path: &Path) -> String {
        DataDir::open(path).unwrap_err().to_string()
    }

    #[test]
    fn a_container_takes_a_volume_that_is_writable_for_everybody_and_no_secret_that_everybody_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume");
        std::fs::create_dir(&path).unwrap();
        chmod(&path, 0o2777);
        is_private(&path, true).unwrap();
        close(&path, true);
        assert_eq!(mode(&path).unwrap() & 0o777, 0o777);
        assert!(matches!(is_private(&path, false), Err(DataDirError::Exposed { .. })));
        std::fs::write(path.join("mesh.key"), b"x").unwrap();
        chmod(&path.join("mesh.key"), 0o604);
        assert!(matches!(is_private(&path, true), Err(DataDirError::Exposed { .. })));
    }

    #[test]
    fn secrets_that_others_can_read_and_directories_that_they_can_exchange_are_refused_with_what_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let (above, path) = (dir.path().join("above"), dir.path().join("above/n1"));
        drop(DataDir::open(&path).unwrap());
        for name in SECRETS {
            let file = path.join(name);
            std::fs::write(&file, b"x").unwrap();
            chmod(&file, 0o604);
            let refused = refused(&path);
            assert!(refused.contains(name) && refused.contains("to mend it: chmod 600 "), "{refused}");
            chmod(&file, 0o640);
            drop(DataDir::open(&path).unwrap());
        }
        for (exposed, mode) in [(&above, 0o777), (&path, 0o702), (&path, 0o1777)] {
            chmod(exposed, mode);
            let refused = refused(&path);
            assert!(refused.contains("may exchange") && refused.contains("to mend it: chmod o-w "), "{refused}");
            chmod(exposed, 0o700);
        }
        chmod(&above, 0o1777);
        drop(DataDir::open(&path).unwrap());
    }

    #[test]
    fn a_file_that_others_can_change_or_exchange_is_nothing_to_go_by_and_a_secret_that_they_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("etc");
        std::fs::create_dir(&folder).unwrap();
        let (file, link) = (folder.join("pentora.yaml"), dir.path().join("link"));
        std::fs::write(&file, "x").unwrap();
        symlink(&file, &link).unwrap();
        for (of_file, of_folder, kept, secret) in [
            (0o600, 0o700, true, true),
            (0o640, 0o755, true, true),
            (0o644, 0o755, true, false),
            (0o646, 0o755, false, false),
            (0o666, 0o755, false, false),
            (0o600, 0o777, false, false),
            (0o600, 0o1777, true, true),
        ] {
            chmod(&file, of_file);
            chmod(&folder, of_folder);
            for way in [&file, &link] {
                let told = is_kept_by(way, false).map_err(|error| error.to_string());
                assert_eq!(told.is_ok(), kept, "{of_file:o} {of_folder:o}: {told:?}");
                assert!(told.err().is_none_or(|why| why.contains("to mend it: chmod o-w ")));
                assert_eq!(is_secret(way).is_ok(), secret, "{of_file:o} {of_folder:o}");
            }
            is_kept_by(&file, true).unwrap();
        }
        is_kept_by(&folder.join("none"), false).unwrap();
        is_kept_by(Path::new("/dev/null"), false).unwrap();
        let pipe = folder.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        is_kept_by(&pipe, false).unwrap();
        chmod(&folder, 0o777);
        for of_others in [&pipe, &folder.join("none")] {
            assert!(is_kept_by(of_others, false).is_err(), "others may put theirs there: {}", of_others.display());
        }
        chmod(&folder, 0o755);
        chmod(&pipe, 0o602);
        assert!(is_kept_by(&pipe, false).is_err(), "others may write into it");
        // From one that nobody else may exchange through one that everybody may to the file.
        let (open, first) = (dir.path().join("open"), dir.path().join("first"));
        std::fs::create_dir(&open).unwrap();
        symlink(&file, open.join("between")).unwrap();
        symlink(open.join("between"), &first).unwrap();
        for (mode, kept) in [(0o755, true), (0o777, false), (0o1777, true)] {
            chmod(&open, mode);
            assert_eq!(is_kept_by(&first, false).is_ok(), kept, "{mode:o}");
        }
    }

    #[test]
    fn a_file_of_another_user_or_in_a_folder_of_theirs_is_nothing_to_go_by() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file, link) = (dir.path().join("etc"), dir.path().join("etc/psk"), dir.path().join("link"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "x").unwrap();
        chmod(&file, 0o600);
        symlink(&file, &link).unwrap();
        // Where the tests may give nothing away there is nothing to see.
        if lchown(&file, Some(STRANGER), None).is_err() {
            return;
        }
        let told = |way: &Path| is_secret(way).unwrap_err().to_string();
        for way in [&file, &link] {
            let (said, shown) = (told(way), file.display());
            assert!(said.contains(&format!("another user (uid {STRANGER}) can change {shown}")), "{said}");
            assert!(said.contains(&format!("to mend it: look at it, then chown {} {shown}", nix::unistd::geteuid())));
        }
        is_kept_by(&file, true).unwrap();
        for of_user in [Some(0), Some(nix::unistd::geteuid().as_raw())] {
            lchown(&file, of_user, None).unwrap();
            is_secret(&link).unwrap();
        }
        for above in [folder.as_path(), dir.path()] {
            // A folder's owner exchanges what is in it, sticky or not.
            for mode in [0o755, 0o1777] {
                lchown(above, Some(STRANGER), None).unwrap();
                chmod(above, mode);
                let said = told(&file);
                assert!(
                    said.contains(&format!("can exchange {}: {} is theirs", file.display(), above.display())),
                    "{said}"
                );
            }
            lchown(above, Some(0), None).unwrap();
            chmod(above, 0o755);
        }
        lchown(&link, Some(STRANGER), None).unwrap();
        let said = told(&link);
        assert!(said.contains("is another user's") && said.contains("chown -h "), "{said}");
        is_secret(&file).unwrap();
    }

    #[test]
    fn a_directory_that_was_there_is_closed_to_others_and_stays_open_to_a_group_that_was_let_in() {
        let dir = tempfile::tempdir().unwrap();
        for (before, after) in [
            (0o755, 0o700),
            (0o750, 0o750),
            (0o705, 0o700),
            (0o775, 0o700),
            (0o770, 0o700),
            (0o2775, 0o2770),
            (0o700, 0o700),
        ] {
            let path = dir.path().join(format!("{before:o}"));
            std::fs::create_dir(&path).unwrap();
            chmod(&path, before);
            for _ in 0..2 {
                drop(DataDir::open(&path).unwrap());
                assert_eq!(mode(&path).unwrap() & 0o7777, after, "{before:o}");
            }
        }
    }

    #[test]
    fn a_directory_of_another_user_or_that_its_group_may_write_is_refused_with_what_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n1");
        drop(DataDir::open(&path).unwrap());
        for of_group in [0o770, 0o775, 0o720, 0o1770] {
            chmod(&path, of_group);
            let said = refused(&path);
            assert!(said.contains("can exchange what is in it"), "{of_group:o}: {said}");
            assert!(said.contains("then chmod g-w ") && mode(&path).unwrap() & 0o7777 == of_group, "{said}");
            is_private(&path, true).unwrap();
        }
        for kept in [0o750, 0o700, 0o2770] {
            chmod(&path, kept);
            drop(DataDir::open(&path).unwrap());
        }
        // Where the tests may give nothing away there is nothing to see.
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        if lchown(&path, Some(STRANGER), None).is_err() || lchown(&empty, Some(STRANGER), None).is_err() {
            return;
        }
        for of_stranger in [&path, &empty] {
            let said = refused(of_stranger);
            assert!(said.contains(&format!("belongs to another user (uid {STRANGER})")), "{said}");
            let mend = format!("chown -R {} {}", nix::unistd::geteuid(), of_stranger.display());
            assert!(said.contains("to mend it: ") && said.contains(&mend), "{said}");
            is_private(of_stranger, true).unwrap();
        }
        for of_user in [0, nix::unistd::geteuid().as_raw()] {
            lchown(&path, Some(of_user), None).unwrap();
            drop(DataDir::open(&path).unwrap());
        }
    }

    #[test]
    fn a_link_that_others_may_exchange_does_not_lead_to_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (open, path) = (dir.path().join("open"), dir.path().join("n1"));
        std::fs::create_dir(&open).unwrap();
        drop(DataDir::open(&path).unwrap());
        let (link, over) = (open.join("link"), dir.path().join("over"));
        symlink(&path, &link).unwrap();
        symlink("open/link", &over).unwrap();
        for way in [&link, &over] {
            chmod(&open, 0o755);
            drop(DataDir::open(way).unwrap());
            chmod(&open, 0o777);
            assert!(refused(way).contains("may exchange"), "{}", way.display());
            chmod(&open, 0o1777);
            drop(DataDir::open(way).unwrap());
        }
        assert_eq!(links(&over).len(), 2);
        // Where the tests may not give it away there is nothing to see. Most kernels follow no such link themselves.
        if lchown(&link, Some(STRANGER), None).is_ok() {
            assert!(DataDir::open(&over).is_err());
            assert!(is_led_to(&link, &path).unwrap_err().to_string().contains("is another user's"));
        }
        let round = dir.path().join("round");
        symlink("round", &round).unwrap();
        assert!(links(&round.join("n1")).len() <= LINKS_MAX);
    }

    #[test]
    fn what_another_user_put_into_a_data_directory_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n1");
        let data_dir = DataDir::open(&path).unwrap();
        std::fs::create_dir_all(data_dir.store_dir()).unwrap();
        drop(data_dir);
        std::fs::write(path.join(OUTSIDE), b"").unwrap();
        drop(DataDir::open(&path).unwrap());
        if lchown(path.join(OUTSIDE), Some(STRANGER), None).is_ok() {
            let refused = refused(&path);
            assert!(refused.contains("outside was put there by another user (uid 54321)"), "{refused}");
            assert!(refused.contains("to mend it: ") && path.join("raft").exists(), "{refused}");
        }
    }
}
