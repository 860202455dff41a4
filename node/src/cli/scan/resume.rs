//! The file that an interrupted embedded scan leaves, and from which it is taken up again.
//!
//! One line for people, the BLAKE3 digest of the head behind its length, the head as JSON, and the chunks of the finished
//! units, which the head names by their digests. So a file is written chunk by chunk, whatever it holds, and one that was cut
//! or edited does not match its digests. The order of a scan's targets is the release's own, so another release refuses the
//! file; forms 1 and 2, of earlier releases, are refused as such.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pentora_raft::Digest;
use pentora_raft::state::Counts;
use serde::{Deserialize, Serialize};

use super::rule_files::RuleFiles;
use crate::cli::results::SavedFormat;
use crate::document::ScanRequest;
use crate::embedded::{SavedRemarks, SavedUnit};
use crate::failure::{ExitCode, Failure};

/// The first line, up to the number of the form.
const HEADING: &str = "pentora interrupted scan, form ";
/// The form that this release writes and reads.
const FORM: &str = "3";
/// Longest head: a request has at most 64 MiB of lists, and JSON may write each byte as several.
const HEAD_BYTES_MAX: u32 = 512 << 20;

/// A scan that can be taken up again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resume {
    /// Every option, the seed included.
    pub(super) request: ScanRequest,
    /// The name of what the options come out as.
    pub(super) spec: Digest,
    /// The files that services are known by, beside the program's own rules.
    pub(super) rules: RuleFiles,
    /// In which form its results were to be printed.
    pub(super) format: SavedFormat,
    /// What was remarked on what is finished.
    pub(super) remarks: SavedRemarks,
    /// What is finished.
    pub(super) units: Vec<SavedUnit>,
}

/// What stands before the chunks.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    release: String,
    request: ScanRequest,
    spec: Digest,
    rules: RuleFiles,
    format: SavedFormat,
    remarks: SavedRemarks,
    units: Vec<Unit>,
}

/// A unit whose chunk follows.
#[derive(Debug, Serialize, Deserialize)]
struct Unit {
    partition: u32,
    start: u64,
    end: u64,
    counts: Counts,
    chunk_bytes: u64,
    digest: Digest,
}

impl Resume {
    /// A scan of which nothing is finished.
    pub(super) fn begun(request: ScanRequest, rules: RuleFiles, format: SavedFormat) -> Self {
        let (spec, remarks) = (Digest::of(&[]), SavedRemarks::default());
        Self { request, spec, rules, format, remarks, units: Vec::new() }
    }

    fn head(&self) -> Result<Vec<u8>, String> {
        let unit = |unit: &SavedUnit| Unit {
            partition: unit.partition,
            start: unit.start,
            end: unit.end,
            counts: unit.counts,
            chunk_bytes: unit.chunk.len() as u64,
            digest: Digest::of(&unit.chunk),
        };
        let head = Head {
            release: env!("CARGO_PKG_VERSION").to_owned(),
            request: self.request.clone(),
            spec: self.spec,
            rules: self.rules.clone(),
            format: self.format.clone(),
            remarks: self.remarks.clone(),
            units: self.units.iter().map(unit).collect(),
        };
        serde_json::to_vec(&head).map_err(|error| error.to_string())
    }

    fn write(&self, mut out: impl Write) -> std::io::Result<()> {
        let head = self.head().map_err(std::io::Error::other)?;
        let length = u32::try_from(head.len()).ok().filter(|length| *length <= HEAD_BYTES_MAX);
        let length = length.ok_or_else(|| std::io::Error::other("its options are larger than the file may hold"))?;
        writeln!(out, "{HEADING}{FORM}")?;
        out.write_all(&Digest::of(&head).0)?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&head)?;
        self.units.iter().try_for_each(|unit| out.write_all(&unit.chunk))?;
        out.flush()
    }

    fn read(mut from: impl Read) -> Result<Self, String> {
        let damaged = || "it was cut short or changed after it was written: its digest is another".to_owned();
        let not_one = || "it is no file of an interrupted scan".to_owned();
        let mut heading = [0; HEADING.len() + FORM.len() + 1];
        from.read_exact(&mut heading).map_err(|_short| not_one())?;
        let form = heading.strip_prefix(HEADING.as_bytes()).ok_or_else(not_one)?;
        if form != format!("{FORM}\n").as_bytes() {
            let form = String::from_utf8_lossy(form).trim_end().escape_default().to_string();
            return Err(format!("it has form {form}, and this release reads form {FORM}"));
        }
        let (mut digest, mut length) = (Digest([0; 32]), [0; 4]);
        from.read_exact(&mut digest.0).and_then(|()| from.read_exact(&mut length)).map_err(|_short| damaged())?;
        let length = u32::from_le_bytes(length);
        if length > HEAD_BYTES_MAX {
            return Err(damaged());
        }
        let head = bytes_of(&mut from, length.into())?.ok_or_else(damaged)?;
        if Digest::of(&head) != digest {
            return Err(damaged());
        }
        // Another release's head may have other fields.
        let release: Release = serde_json::from_slice(&head).map_err(|error| error.to_string())?;
        if release.release != env!("CARGO_PKG_VERSION") {
            let (theirs, own) = (release.release.escape_default(), env!("CARGO_PKG_VERSION"));
            return Err(format!("release {theirs} wrote it and this is {own}: their orders of targets may differ"));
        }
        let head: Head = serde_json::from_slice(&head).map_err(|error| error.to_string())?;
        let mut units = Vec::new();
        for Unit { partition, start, end, counts, chunk_bytes, digest } in head.units {
            let chunk = bytes_of(&mut from, chunk_bytes)?.filter(|chunk| Digest::of(chunk) == digest);
            let chunk = Bytes::from(chunk.ok_or_else(damaged)?);
            units.push(SavedUnit { partition, start, end, counts, chunk });
        }
        match from.read(&mut [0]) {
            Ok(0) => {}
            _ => return Err(damaged()),
        }
        let Head { request, spec, rules, format, remarks, .. } = head;
        Ok(Self { request, spec, rules, format, remarks, units })
    }

    /// Writes it into `folder` under a name made of the time, for the owner alone, and answers where it is.
    ///
    /// # Errors
    /// The disk refuses; nothing is left behind then.
    pub(super) fn save(&self, folder: &Path, now: &jiff::Zoned) -> Result<PathBuf, String> {
        let path = folder.join(format!("pentora-{}.resume", now.strftime("%Y%m%d-%H%M%S")));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let written = self.write(BufWriter::new(&file)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Half a file would be refused later; what cannot even be removed is for the user to see.
            let _ = std::fs::remove_file(&path);
            return Err(failed(error));
        }
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
        let file = File::open(path).map_err(|error| failed(ExitCode::Failure, error.to_string()))?;
        Self::read(BufReader::new(file)).map_err(|why| {
            failed(ExitCode::Usage, why).next("begin anew with the scan's own options; this file was left as it is")
        })
    }
}

/// Which release wrote a head.
#[derive(Deserialize)]
struct Release {
    release: String,
}

/// So many bytes; `None` where there are fewer. Takes memory as they come, and not for what a damaged file claims.
fn bytes_of(from: &mut impl Read, count: u64) -> Result<Option<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    from.take(count).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok((bytes.len() as u64 == count).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_scanner::finding::NotProbed;
    use proptest::prelude::*;

    fn resume() -> Resume {
        let request = ScanRequest { targets: vec!["10.0.0.0/24".into()], seed: Some(7), ..ScanRequest::default() };
        let unit = |start, text: &'static [u8]| {
            let counts = Counts { hosts_up: 3, ..Counts::default() };
            SavedUnit { partition: 0, start, end: start + 5, counts, chunk: Bytes::from_static(text) }
        };
        let mut remarks = SavedRemarks { notes: ["a note".to_owned()].into(), ..SavedRemarks::default() };
        remarks.not_probed.add(NotProbed::NoRoute, 4);
        Resume {
            spec: Digest::of(b"spec"),
            remarks,
            units: vec![unit(4, b"first chunk"), unit(20, b""), unit(30, b"third")],
            ..Resume::begun(request, RuleFiles::default(), SavedFormat::default())
        }
    }

    fn bytes_of(resume: &Resume) -> Vec<u8> {
        let mut bytes = Vec::new();
        resume.write(&mut bytes).unwrap();
        bytes
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
    fn results_of_any_size_are_saved_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        // More than the codec would decode in one piece.
        let chunk = Bytes::from(vec![7; 70 << 20]);
        let mut large = resume();
        large.units.push(SavedUnit { chunk, ..large.units[0].clone() });
        let path = large.save(folder.path(), &jiff::Zoned::now()).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 70 << 20);
        assert!(Resume::load(&path).unwrap() == large);
    }

    #[test]
    fn a_disk_that_is_full_leaves_no_half_file() {
        let folder = tempfile::tempdir().unwrap();
        let refused = resume().save(&folder.path().join("nowhere"), &jiff::Zoned::now()).unwrap_err();
        assert!(refused.contains("nowhere"), "{refused}");
        assert!(resume().write(File::options().write(true).open("/dev/full").unwrap()).is_err());
    }

    #[test]
    fn a_file_of_another_kind_form_or_release_is_refused_with_what_it_is() {
        let of = |bytes: &[u8]| Resume::read(bytes).unwrap_err();
        assert!(of(b"").contains("no file of an interrupted scan"));
        assert!(of(b"10.0.0.1\n").contains("no file of an interrupted scan"));
        for form in [1, 2, 4] {
            let mut bytes = bytes_of(&resume());
            bytes[HEADING.len()] = b'0' + form;
            assert!(of(&bytes).contains(&format!("has form {form}")));
        }
        let head = br#"{"release":"0.0.0","and":"more"}"#;
        let mut other = format!("{HEADING}{FORM}\n").into_bytes();
        other.extend(Digest::of(head).0);
        other.extend(u32::try_from(head.len()).unwrap().to_le_bytes());
        other.extend(head);
        assert!(of(&other).contains("release 0.0.0 wrote it"));
        assert_eq!(Resume::load(Path::new("/nonexistent/x")).unwrap_err().exit, ExitCode::Failure);
    }

    proptest! {
        #[test]
        fn a_file_that_was_cut_changed_or_added_to_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let whole = bytes_of(&resume());
            let at = at.index(whole.len());
            prop_assert!(Resume::read(&whole[..at]).is_err());
            let mut changed = whole.clone();
            changed[at] ^= flip;
            prop_assert!(Resume::read(changed.as_slice()).is_err());
            let longer = [whole.as_slice(), &[flip]].concat();
            prop_assert!(Resume::read(longer.as_slice()).is_err());
        }
    }
}
