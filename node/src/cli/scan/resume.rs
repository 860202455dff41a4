//! The file that an interrupted embedded scan leaves, and from which it is taken up again.
//!
//! One line for people, the BLAKE3 digest of the rest, and the rest in the codec's form: every option of the scan, what it
//! comes out as, and the finished units with their hosts. A file that was cut or edited does not match its digest. The
//! order of a scan's targets is the release's own, so another release refuses the file.
//!
//! Form 2 holds the options as JSON, so that a new one changes nothing here; `resume/form1.rs` reads form 1, which held them
//! by position.

mod form1;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pentora_raft::Digest;
use pentora_raft::codec::{self, Kind};
use serde::{Deserialize, Serialize};

use crate::document::ScanRequest;
use crate::embedded::SavedUnit;
use crate::failure::{ExitCode, Failure};

/// The first line, up to the number of the form.
const HEADING: &str = "pentora interrupted scan, form ";
/// The form that this release writes. It reads form 1 as well.
const FORM: &str = "2";
/// Largest file read: what the codec decodes, and the heading.
const FILE_BYTES_MAX: u64 = codec::DECODE_BYTES_MAX as u64 + 128;

/// A scan that can be taken up again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Resume {
    /// The release that wrote it.
    pub(super) release: String,
    /// Every option, the seed included.
    #[serde(with = "as_json")]
    pub(super) request: ScanRequest,
    /// The name of what the options come out as.
    pub(super) spec: Digest,
    /// What is finished.
    pub(super) units: Vec<SavedUnit>,
}

impl Resume {
    /// A scan of this release.
    pub(super) fn new(request: ScanRequest, spec: Digest, units: Vec<SavedUnit>) -> Self {
        Self { release: env!("CARGO_PKG_VERSION").to_owned(), request, spec, units }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let body = codec::encode(Kind::Resume, self);
        let mut bytes = format!("{HEADING}{FORM}\n").into_bytes();
        bytes.extend(Digest::of(&body).0);
        bytes.extend(body);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let not_one = || "it is no file of an interrupted scan".to_owned();
        let rest = bytes.strip_prefix(HEADING.as_bytes()).ok_or_else(not_one)?;
        let line_end = rest.iter().position(|byte| *byte == b'\n').filter(|at| *at <= 8).ok_or_else(not_one)?;
        let (form, rest) = rest.split_at(line_end);
        let decode: fn(&[u8]) -> Result<Self, codec::CodecError> = match form {
            b"1" => form1::decode,
            form if form == FORM.as_bytes() => |body| codec::decode(Kind::Resume, body),
            form => {
                let form = String::from_utf8_lossy(form).escape_default().to_string();
                return Err(format!("it has form {form}, and this release reads forms 1 and {FORM}"));
            }
        };
        let damaged = || "it was cut short or changed after it was written: its digest is another".to_owned();
        let (digest, body) = rest.get(1..).and_then(|rest| rest.split_first_chunk::<32>()).ok_or_else(damaged)?;
        if Digest::of(body) != Digest(*digest) {
            return Err(damaged());
        }
        let resume: Self = decode(body).map_err(|error| error.to_string())?;
        if resume.release != env!("CARGO_PKG_VERSION") {
            let (theirs, own) = (resume.release.escape_default(), env!("CARGO_PKG_VERSION"));
            return Err(format!("release {theirs} wrote it and this is {own}: their orders of targets may differ"));
        }
        Ok(resume)
    }

    /// Writes it into `folder` under a name made of the time, for the owner alone, and answers where it is.
    ///
    /// # Errors
    /// The disk refuses, or the results are more than the form holds.
    pub(super) fn save(&self, folder: &Path, now: &jiff::Zoned) -> Result<PathBuf, String> {
        let bytes = self.to_bytes();
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("its results take {} MiB, and a file may hold 64", bytes.len() >> 20));
        }
        let path = folder.join(format!("pentora-{}.resume", now.strftime("%Y%m%d-%H%M%S")));
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Reads one back.
    ///
    /// # Errors
    /// Exit 1 where the file cannot be read, 2 where it is none that can be taken up.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let failed = |exit, why: String| {
            Failure::new(exit, format!("the scan of {} cannot be taken up", path.display())).because(why)
        };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|error| failed(ExitCode::Failure, error.to_string()))?;
        Self::from_bytes(&bytes).map_err(|why| {
            failed(ExitCode::Usage, why).next("begin anew with the scan's own options; this file was left as it is")
        })
    }
}

/// A request as JSON inside a value by position.
mod as_json {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    use crate::document::ScanRequest;

    pub(super) fn serialize<S: Serializer>(request: &ScanRequest, to: S) -> Result<S::Ok, S::Error> {
        serde_json::to_string(request).map_err(ser::Error::custom)?.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ScanRequest, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::state::Counts;
    use proptest::prelude::*;

    fn resume() -> Resume {
        let request = ScanRequest { targets: vec!["10.0.0.0/24".into()], seed: Some(7), ..ScanRequest::default() };
        let counts = Counts { hosts_up: 3, ..Counts::default() };
        let unit = SavedUnit { partition: 0, start: 4, end: 9, counts, records: Vec::new() };
        Resume::new(request, Digest::of(b"spec"), vec![unit])
    }

    #[test]
    fn a_scan_is_read_back_as_it_was_saved_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let now = jiff::Zoned::now();
        let path = resume().save(folder.path(), &now).unwrap();
        assert_eq!(Resume::load(&path).unwrap(), resume());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(resume().save(folder.path(), &now).is_err(), "no file is written over");
    }

    #[test]
    fn a_file_of_another_kind_form_or_release_is_refused_with_what_it_is() {
        let of = |bytes: &[u8]| Resume::from_bytes(bytes).unwrap_err();
        assert!(of(b"").contains("no file of an interrupted scan"));
        assert!(of(b"10.0.0.1\n").contains("no file of an interrupted scan"));
        let text = String::from_utf8_lossy(&resume().to_bytes()).into_owned();
        assert!(of(text.replacen("form 2", "form 3", 1).as_bytes()).contains("has form 3"));
        let other = Resume { release: "0.0.0".into(), ..resume() };
        assert!(of(&other.to_bytes()).contains("release 0.0.0 wrote it"));
        assert_eq!(Resume::load(Path::new("/nonexistent/x")).unwrap_err().exit, ExitCode::Failure);
    }

    proptest! {
        #[test]
        fn a_file_that_was_cut_or_changed_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let whole = resume().to_bytes();
            let at = at.index(whole.len());
            prop_assert!(Resume::from_bytes(&whole[..at]).is_err());
            let mut changed = whole.clone();
            changed[at] ^= flip;
            prop_assert!(Resume::from_bytes(&changed).is_err());
        }
    }
}
