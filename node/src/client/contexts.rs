//! The clusters that a user has names for: where the API of each is, and in which file its token.
//!
//! They are in `contexts.json` in the user's configuration directory, which holds no secret itself.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::locate::{Location, TokenFileError, read_token};
use crate::durable_file::{self, Readers};
use crate::tls::{Fingerprint, Trust};

/// The largest file that is read. Ours: a thousand names.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The names of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// All of them.
    #[serde(default)]
    pub contexts: BTreeMap<String, NamedCluster>,
}

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCluster {
    /// API addresses, with commas.
    pub api: String,
    /// The file with the token; `None` where the API asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The file with the authorities that are trusted there; `None` beside no fingerprint for the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The authority that is trusted there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_fingerprint: Option<Fingerprint>,
}

/// Why the names of a user cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextsError {
    /// The system refuses.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file was damaged.
    #[error("{path} does not hold contexts: {reason}; mend it, or move it away and add them again", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// No such name.
    #[error("there is no context `{0}`")]
    Unknown(String),
    /// The token file of a context cannot be used.
    #[error(transparent)]
    Token(#[from] TokenFileError),
}

impl Contexts {
    /// Reads the file; none is no error.
    ///
    /// # Errors
    /// [`ContextsError`].
    pub fn read(path: &Path) -> Result<Self, ContextsError> {
        use std::io::Read;
        let failed = |source| ContextsError::Io { path: path.to_owned(), source };
        let damaged = |reason: String| ContextsError::Damaged { path: path.to_owned(), reason };
        let file = match durable_file::regular(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(damaged(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`ContextsError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), ContextsError> {
        let failed = |source| ContextsError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            durable_file::private_folder(directory).map_err(failed)?;
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(io::Error::other(error)))?;
        durable_file::write(path, format!("{text}\n").as_bytes(), Readers::Owner).map_err(failed)
    }

    /// The cluster of this name.
    ///
    /// # Errors
    /// [`ContextsError::Unknown`].
    pub fn named(&self, name: &str) -> Result<&NamedCluster, ContextsError> {
        self.contexts.get(name).ok_or_else(|| ContextsError::Unknown(name.to_owned()))
    }
}

impl NamedCluster {
    /// Where it is, with its token.
    ///
    /// # Errors
    /// [`ContextsError::Token`].
    pub fn location(&self, name: &str) -> Result<Location, ContextsError> {
        let origin = format!("context {name}");
        let token = self.token_file.as_ref().map(|path| {
            read_token(path).map_err(|reason| TokenFileError { path: path.clone(), origin: origin.clone(), reason })
        });
        let searched = match &self.token_file {
            Some(path) => format!("{} ({origin})", path.display()),
            None => format!("{origin} has no token file"),
        };
        let endpoints = self.api.split(',').map(str::to_owned).collect();
        let trust = Trust::said(self.ca_file.as_deref(), self.ca_fingerprint);
        Ok(Location { endpoints, token: token.transpose()?, trust, chosen: true, searched })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(api: &str, token_file: Option<PathBuf>) -> NamedCluster {
        NamedCluster { api: api.into(), token_file, ca_file: None, ca_fingerprint: None }
    }

    #[test]
    fn names_read_back_and_a_damaged_file_is_named_with_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pentora/contexts.json");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        let contexts = Contexts {
            current: Some("a".into()),
            contexts: [("a".to_owned(), named("http://10.0.0.1:8080", Some("/t".into())))].into(),
        };
        contexts.write(&path).unwrap();
        assert_eq!(Contexts::read(&path).unwrap(), contexts);
        for (bad, part) in [("{", "line 1"), (r#"{"contexts":{"a":{}}}"#, "api"), (r#"{"context":{}}"#, "context")] {
            std::fs::write(&path, bad).unwrap();
            let error = Contexts::read(&path).unwrap_err().to_string();
            assert!(error.contains("contexts.json") && error.contains(part), "{error}");
        }
        std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        assert!(Contexts::read(&path).unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn a_name_leads_to_addresses_and_token_and_one_that_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t");
        std::fs::write(&file, "pna_secret\n").unwrap();
        let location = named("http://a:1,http://b:1", Some(file)).location("c").unwrap();
        assert_eq!(location.endpoints, ["http://a:1", "http://b:1"]);
        assert_eq!(location.token.unwrap().expose(), "pna_secret");
        assert!(location.chosen && location.searched.contains("context c"));
        assert!(named("http://a:1", None).location("c").unwrap().token.is_none());
        let missing = named("http://a:1", Some(dir.path().join("none"))).location("c").unwrap_err().to_string();
        assert!(missing.contains("context c") && missing.contains("none"), "{missing}");
        assert!(matches!(Contexts::default().named("x"), Err(ContextsError::Unknown(name)) if name == "x"));
    }
}
