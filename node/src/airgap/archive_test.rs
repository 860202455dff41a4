//! Bundles that read back, and archives of every hostile kind, each made here by a writer of tar.

use flate2::read::MultiGzDecoder;
use tar::Builder;

use super::*;

/// The parts of a good bundle, to be changed one at a time.
pub(crate) struct Parts {
    pub(crate) signature: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) contents: Vec<Vec<u8>>,
}

impl Parts {
    pub(crate) fn new(key: &Identity, manifest: &[u8], contents: &[&[u8]]) -> Self {
        let mut signature = key.peer_id().as_bytes().to_vec();
        signature.extend(key.sign(&signed(manifest)));
        let contents = contents.iter().map(|content| content.to_vec()).collect();
        Self { signature, manifest: manifest.to_vec(), contents }
    }

    fn list(&self) -> Vec<Content> {
        self.contents.iter().map(|bytes| Content { digest: Digest::of(bytes), bytes: bytes.len() as u64 }).collect()
    }

    /// The names and bytes of its entries.
    fn entries(&self) -> Vec<(String, Vec<u8>)> {
        let contents = self.contents.iter().map(|bytes| (content_name(Digest::of(bytes)), bytes.clone()));
        [(SIGNATURE_NAME.to_owned(), self.signature.clone()), (MANIFEST_NAME.to_owned(), self.manifest.clone())]
            .into_iter()
            .chain(contents)
            .collect()
    }
}

/// An archive of these headings and bodies.
fn tar(entries: impl IntoIterator<Item = (Header, Vec<u8>)>) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (header, body) in entries {
        tar.append(&header, body.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn header(name: &str, kind: EntryType, bytes: usize) -> Header {
    let mut header = Header::new_ustar();
    // Not `set_path`, which refuses what is tried here.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes as u64);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn plain(entries: Vec<(String, Vec<u8>)>) -> Vec<(Header, Vec<u8>)> {
    entries.into_iter().map(|(name, body)| (header(&name, EntryType::Regular, body.len()), body)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn read(bytes: &[u8], list: &[Content]) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut taken = Vec::new();
    ArchiveReader::open(bytes)?.contents(list, |_, bytes| {
        taken.push(bytes);
        Ok::<(), ArchiveError>(())
    })?;
    Ok(taken)
}

fn good() -> Parts {
    Parts::new(&Identity::from_secret([7; 32]), b"{}", &[b"one", &[9; 3_000]])
}

#[test]
fn a_bundle_reads_back_and_is_an_archive_that_any_tar_lists() {
    let parts = good();
    let mut writer = ArchiveWriter::new(Vec::new(), &Identity::from_secret([7; 32]), &parts.manifest).unwrap();
    parts.contents.iter().for_each(|bytes| writer.content(Digest::of(bytes), bytes).unwrap());
    let bytes = writer.finish().unwrap();
    assert_eq!(read(&bytes, &parts.list()).unwrap(), parts.contents);
    assert_eq!(ArchiveReader::open(bytes.as_slice()).unwrap().manifest(), b"{}");
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes.as_slice()));
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    assert_eq!(names.take(2).collect::<Vec<_>>(), ["signature", "manifest.json"]);
    let by_others = gzip(&tar(plain(parts.entries())));
    assert_eq!(read(&by_others, &parts.list()).unwrap(), parts.contents);
}

#[test]
fn an_archive_that_is_cut_anywhere_or_has_more_behind_it_is_refused() {
    let parts = good();
    let whole = gzip(&tar(plain(parts.entries())));
    for end in 0..whole.len() {
        assert!(read(&whole[..end], &parts.list()).is_err(), "cut at {end}");
    }
    let raw = tar(plain(parts.entries()));
    for end in (0..raw.len() - 1_023).step_by(100) {
        let error = read(&gzip(&raw[..end]), &parts.list()).unwrap_err();
        assert!(matches!(error, ArchiveError::CutShort { .. }), "cut at {end} before it was compressed: {error}");
    }
    for more in [[whole.clone(), vec![0]].concat(), [whole.clone(), whole.clone()].concat()] {
        assert!(matches!(read(&more, &parts.list()), Err(ArchiveError::More)));
    }
    let bomb = [raw, vec![0; 1 << 20]].concat();
    assert!(matches!(read(&gzip(&bomb), &parts.list()), Err(ArchiveError::More)));
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let parts = good();
    let raw = tar(plain(parts.entries()));
    // Fields of a heading that mean nothing here (owner, time) are not signed; names, kinds, sizes and bodies are held.
    let means_nothing = |at: usize| {
        let (block, place) = (at / 512, at % 512);
        let is_heading = [0, 2, 4, 6].contains(&block);
        is_heading && place >= 257 && !(257..265).contains(&place) && !(345..500).contains(&place)
    };
    for at in (0..raw.len() - 1_024).filter(|at| !means_nothing(*at)).step_by(7) {
        let mut changed = raw.clone();
        changed[at] ^= 0x40;
        let result = read(&gzip(&changed), &parts.list());
        let is_padding = raw[at] == 0 && result.is_ok();
        assert!(result.is_err() || is_padding, "byte {at}");
        if let Ok(contents) = result {
            assert_eq!(contents, parts.contents, "byte {at}");
        }
    }
    let mut content = plain(parts.entries());
    content[2].1[0] ^= 1;
    assert!(matches!(read(&gzip(&tar(content)), &parts.list()), Err(ArchiveError::Changed { .. })));
    let other = Parts { manifest: b"[]".to_vec(), ..good() };
    let error = read(&gzip(&tar(plain(other.entries()))), &other.list()).unwrap_err();
    assert!(matches!(error, ArchiveError::Signature { .. }), "{error}");
}

#[test]
fn entries_that_are_no_plain_file_or_lead_elsewhere_are_refused_by_what_they_are() {
    let parts = good();
    for (name, kind, told) in [
        ("../../etc/passwd", EntryType::Regular, "is called \"../../etc/passwd\""),
        ("/etc/passwd", EntryType::Regular, "is called \"/etc/passwd\""),
        ("content/../../x", EntryType::Regular, "is called"),
        ("signature", EntryType::Regular, "is called \"signature\""),
        ("", EntryType::Regular, "is called \"\""),
        ("content", EntryType::Symlink, "is a link"),
        ("content", EntryType::Link, "is a link"),
        ("content", EntryType::Char, "is a device"),
        ("content", EntryType::Block, "is a device"),
        ("content", EntryType::Fifo, "is a device"),
        ("content", EntryType::Directory, "is a directory"),
        ("content", EntryType::XHeader, "is of a kind of its own"),
        ("content", EntryType::GNULongName, "is of a kind of its own"),
        ("content", EntryType::GNUSparse, "is of a kind of its own"),
    ] {
        let mut entries = plain(parts.entries());
        entries[2].0 = header(name, kind, 3);
        let error = read(&gzip(&tar(entries)), &parts.list()).unwrap_err().to_string();
        assert!(error.contains("entry 3") && error.contains(told), "{name:?} {kind:?}: {error}");
    }
}

#[test]
fn entries_twice_missing_swapped_or_of_another_size_are_refused() {
    let parts = good();
    let archive = |change: fn(&mut Vec<(Header, Vec<u8>)>)| {
        let mut entries = plain(parts.entries());
        change(&mut entries);
        read(&gzip(&tar(entries)), &parts.list()).unwrap_err()
    };
    let twice = archive(|entries| entries.insert(3, entries[2].clone()));
    assert!(matches!(twice, ArchiveError::Entry { at: 4, .. }), "{twice}");
    assert!(matches!(archive(|entries| entries.swap(2, 3)), ArchiveError::Entry { at: 3, .. }));
    assert!(matches!(archive(|entries| drop(entries.pop())), ArchiveError::CutShort { .. }));
    let one_more = archive(|entries| entries.push(entries[3].clone()));
    assert!(matches!(one_more, ArchiveError::More), "{one_more}");
    let grown = archive(|entries| {
        let name = content_name(Digest::of(b"one"));
        entries[2] = (header(&name, EntryType::Regular, 1 << 20), vec![0; 1 << 20]);
    });
    assert!(grown.to_string().contains("has 1048576 bytes"), "{grown}");
}

#[test]
fn sizes_that_nobody_has_take_no_memory() {
    let manifest = |bytes: u64| {
        let mut entries = plain(good().entries());
        let mut heading = header(MANIFEST_NAME, EntryType::Regular, 0);
        heading.set_size(bytes);
        heading.set_cksum();
        entries[1].0 = heading;
        // Written by hand: the builder would read as much as the heading says.
        let mut raw = Vec::new();
        for (header, body) in entries {
            raw.extend(header.as_bytes());
            raw.extend(&body);
            raw.resize(raw.len().next_multiple_of(512), 0);
        }
        read(&gzip(&raw), &[]).unwrap_err()
    };
    assert!(matches!(manifest(u64::MAX / 2), ArchiveError::Entry { at: 2, .. }));
    assert!(matches!(manifest(MANIFEST_BYTES_MAX + 1), ArchiveError::Entry { at: 2, .. }));
    assert!(matches!(manifest(MANIFEST_BYTES_MAX), ArchiveError::CutShort { .. }));
    let huge = [Content { digest: Digest::of(b"one"), bytes: CHUNK_BYTES_MAX as u64 + 1 }];
    assert!(matches!(read(&gzip(&tar(plain(good().entries()))), &huge), Err(ArchiveError::Entry { at: 3, .. })));
}

#[test]
fn what_is_no_archive_at_all_is_refused() {
    for bytes in [
        &b""[..],
        b"PK\x03\x04",
        b"plain text",
        &gzip(b""),
        &gzip(b"not tar"),
        &gzip(&[0; 10_240]),
        &gzip(&[b'x'; 4_096]),
    ] {
        assert!(read(bytes, &[]).is_err());
    }
}
