//! Which configuration file is read, and what the host contributes to the defaults.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::issue::{ConfigError, ConfigIssue, Origin};
use crate::durable_file;

/// Largest file read; a full configuration has about 4 KiB, so a bigger one was named by mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A configuration file's name and text.
#[derive(Debug, Clone)]
pub struct ConfigText {
    /// The file as messages name it.
    pub name: String,
    /// Its content.
    pub text: String,
}

impl ConfigText {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// One issue: missing, unreadable, too large, or not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let fail = |message: String| {
            ConfigError::new(vec![ConfigIssue {
                origin: Origin::Default,
                key: None,
                message: format!("{name}: {message}"),
            }])
        };
        let file = durable_file::given(path).map_err(|error| fail(format!("cannot be opened: {error}")))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fail(format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(fail("is larger than 1 MiB: that is no configuration".to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|error| fail(format!("is not UTF-8 text: {error}")))?;
        Ok(Self { name, text })
    }
}

/// Facts about the machine and the user that defaults depend on.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The machine's name, which becomes the node's name.
    pub name: String,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// Whether the process runs as root.
    pub is_root: bool,
}

impl Host {
    /// Where a node keeps its state unless told otherwise: `/var/lib/pentora` for root (FHS 3.0 section 5.8), the
    /// user's data directory for others (XDG Base Directory Specification).
    #[must_use]
    pub fn default_data_dir(&self, env: &BTreeMap<String, String>) -> PathBuf {
        let xdg = env.get("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        match (&self.home, xdg) {
            (_, _) if self.is_root => PathBuf::from("/var/lib/pentora"),
            (_, Some(xdg)) => xdg.join("pentora"),
            (Some(home), None) => home.join(".local/share/pentora"),
            (None, None) => PathBuf::from("/var/lib/pentora"),
        }
    }
}

/// The file to read: `flag` (`--config`), else `PENTORA_CONFIG`, else the first existing of the user's and the
/// system's. A file that was named is returned whether it exists or not, so that a wrong name is an error.
pub fn find_file(
    flag: Option<&Path>,
    env: &BTreeMap<String, String>,
    host: &Host,
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let named = env.get("PENTORA_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = flag.map(Path::to_owned).or(named) {
        return Some(path);
    }
    let xdg = env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = xdg.or_else(|| host.home.as_ref().map(|home| home.join(".config")));
    user.map(|directory| directory.join("pentora/pentora.yaml"))
        .into_iter()
        .chain([PathBuf::from("/etc/pentora/pentora.yaml")])
        .find(|path| exists(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { name: "box".into(), home: Some("/home/u".into()), is_root: false }
    }

    #[test]
    fn a_named_file_wins_and_otherwise_the_first_that_exists() {
        let env = BTreeMap::from([("PENTORA_CONFIG".to_owned(), "/e.yaml".to_owned())]);
        let none = BTreeMap::new();
        let user = Path::new("/home/u/.config/pentora/pentora.yaml");
        let system = Path::new("/etc/pentora/pentora.yaml");
        let flag = Path::new("/f.yaml");
        assert_eq!(find_file(Some(flag), &env, &host(), |_| false).as_deref(), Some(flag));
        assert_eq!(find_file(None, &env, &host(), |_| false).as_deref(), Some(Path::new("/e.yaml")));
        assert_eq!(find_file(None, &none, &host(), |_| true).as_deref(), Some(user));
        assert_eq!(find_file(None, &none, &host(), |path| path == system).as_deref(), Some(system));
        assert_eq!(find_file(None, &none, &host(), |_| false), None);
    }

    #[test]
    fn state_goes_to_the_system_for_root_and_to_the_home_for_others() {
        let none = BTreeMap::new();
        let root = Host { is_root: true, ..host() };
        assert_eq!(root.default_data_dir(&none), Path::new("/var/lib/pentora"));
        assert_eq!(host().default_data_dir(&none), Path::new("/home/u/.local/share/pentora"));
        let xdg = BTreeMap::from([("XDG_DATA_HOME".to_owned(), "/x".to_owned())]);
        assert_eq!(host().default_data_dir(&xdg), Path::new("/x/pentora"));
    }

    #[test]
    fn a_file_that_is_missing_huge_or_binary_is_one_clear_issue() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.yaml");
        let message = |path: &Path| ConfigText::read(path).unwrap_err().to_string();
        assert!(message(&path).contains("cannot be opened"), "{}", message(&path));
        std::fs::write(&path, vec![b'a'; 1024 * 1024 + 1]).unwrap();
        assert!(message(&path).contains("larger than 1 MiB"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(message(&path).contains("not UTF-8"));
    }
}
