//! A bundle's archive: gzip over tar, so that any system can look into it, and read here by position alone.
//!
//! Entries in this order: `signature` (the signer's key, 32 bytes, and an ed25519 signature of 64), `manifest.json`, then one
//! `content/DIGEST` for each content that the manifest lists, as it lists them. A reader knows name, kind and size of each
//! entry before it reads it, and refuses any other: a path, a link, a device, a second entry of one name, a size that was
//! not promised. So no archive makes it write anywhere, or take more memory or time than its manifest and limits allow.
//! `tar` knows the headers' fields; what belongs where is decided here.

use std::io::{self, BufRead, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use pentora_p2p::{Identity, PeerId};
use pentora_raft::Digest;
use tar::{EntryType, Header};

use super::manifest::Content;
use crate::rpc::calls::CHUNK_BYTES_MAX;

/// What is signed begins with this, so that a signature over anything else is none over a manifest.
const SIGNED: &[u8] = b"pentora bundle 1\n";
const SIGNATURE_NAME: &str = "signature";
const MANIFEST_NAME: &str = "manifest.json";
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// The largest manifest, in bytes. Ours: some hundred thousand units.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// tar's block.
const BLOCK: usize = 512;
/// What may pad an archive behind its last entry, in bytes: tar's two empty blocks, and a record of its usual size.
const PADDING_BYTES_MAX: u64 = 64 << 10;

/// Bytes that are no bundle, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file could not be read.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// It ends too early.
    #[error("it is cut short: it ends within {place}")]
    CutShort {
        /// Where.
        place: String,
    },
    /// It is not compressed as a bundle is, or was changed.
    #[error("it is damaged, or no bundle: {0}")]
    NotGzip(io::Error),
    /// An entry is not the one that belongs there.
    #[error("entry {at} {what}")]
    Entry {
        /// Which, from 1.
        at: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The manifest is not what the signer signed.
    #[error("its signature is not that of {signer}: the manifest was changed")]
    Signature {
        /// Who is said to have signed it.
        signer: PeerId,
    },
    /// A content is not what the manifest says.
    #[error("content {digest} was changed: its bytes have another digest")]
    Changed {
        /// Which.
        digest: Digest,
    },
    /// There is more than the manifest says.
    #[error("there is more in it than its manifest says")]
    More,
}

/// Writes a bundle.
#[derive(Debug)]
pub struct ArchiveWriter<W: Write> {
    out: GzEncoder<W>,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins a bundle with this manifest, signed with `key`.
    ///
    /// # Errors
    /// What the output fails with.
    pub fn new(out: W, key: &Identity, manifest: &[u8]) -> io::Result<Self> {
        // The contents are compressed already: what is left to gain is little, at any price.
        let mut writer = Self { out: GzEncoder::new(out, Compression::fast()) };
        let mut signature = key.peer_id().as_bytes().to_vec();
        signature.extend(key.sign(&signed(manifest)));
        writer.entry(SIGNATURE_NAME, &signature)?;
        writer.entry(MANIFEST_NAME, manifest)?;
        Ok(writer)
    }

    /// Adds the next content of the manifest.
    ///
    /// # Errors
    /// What the output fails with.
    pub fn content(&mut self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        self.entry(&content_name(digest), bytes)
    }

    /// Ends the bundle and gives the output back.
    ///
    /// # Errors
    /// What the output fails with.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.finish()
    }

    fn entry(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.out.write_all(&vec![0; padding])
    }
}

/// A bundle whose manifest is there and signed by whom it says; its contents are still to be read.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    input: GzDecoder<R>,
    entries: usize,
    signer: PeerId,
    manifest: Vec<u8>,
}

impl<R: BufRead> ArchiveReader<R> {
    /// Reads signature and manifest. Whoever calls decides whether the signer is trusted, before the manifest is looked at.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(input: R) -> Result<Self, ArchiveError> {
        let key = PeerId::from_bytes([0; KEY_BYTES]);
        let mut reader = Self { input: GzDecoder::new(input), entries: 0, signer: key, manifest: Vec::new() };
        let wanted = (KEY_BYTES + SIGNATURE_BYTES) as u64;
        let bytes = reader.entry(SIGNATURE_NAME, |bytes| bytes == wanted)?;
        let (key, signature) = bytes.split_at(KEY_BYTES);
        let key: [u8; KEY_BYTES] = key.try_into().unwrap_or([0; KEY_BYTES]);
        reader.signer = PeerId::from_bytes(key);
        reader.manifest = reader.entry(MANIFEST_NAME, |bytes| bytes <= MANIFEST_BYTES_MAX)?;
        if !reader.signer.verify(&signed(&reader.manifest), signature) {
            return Err(ArchiveError::Signature { signer: reader.signer });
        }
        Ok(reader)
    }

    /// Who signed it.
    #[must_use]
    pub fn signer(&self) -> PeerId {
        self.signer
    }

    /// The manifest's bytes.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Hands each content, verified, to `take`, and reads to the very end.
    ///
    /// # Errors
    /// [`ArchiveError`], or what `take` answers.
    pub fn contents<E: From<ArchiveError>>(
        mut self,
        contents: &[Content],
        mut take: impl FnMut(Digest, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        for content in contents {
            let fits = |bytes| bytes == content.bytes && bytes <= CHUNK_BYTES_MAX as u64;
            let bytes = self.entry(&content_name(content.digest), fits)?;
            if Digest::of(&bytes) != content.digest {
                return Err(ArchiveError::Changed { digest: content.digest }.into());
            }
            take(content.digest, bytes)?;
        }
        Ok(self.end()?)
    }

    /// Reads the next entry, which must be a plain file of this name and of a size that fits.
    fn entry(&mut self, name: &str, fits: impl FnOnce(u64) -> bool) -> Result<Vec<u8>, ArchiveError> {
        self.entries += 1;
        let at = self.entries;
        let wrong = |what: String| ArchiveError::Entry { at, what };
        let mut header = Header::new_old();
        self.exactly(header.as_mut_bytes(), || format!("the heading of entry {at}, {name}"))?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Err(ArchiveError::CutShort { place: format!("the list of entries: {name} is not there") });
        }
        let sum = header.as_bytes().iter().enumerate();
        // The sum counts its own field as blanks.
        let sum: u32 = sum.map(|(place, byte)| u32::from(if (148..156).contains(&place) { b' ' } else { *byte })).sum();
        if header.cksum().ok() != Some(sum) {
            return Err(wrong("has a heading that is no tar's".into()));
        }
        let kind = header.entry_type();
        if kind != EntryType::Regular {
            return Err(wrong(format!("is {}, and a bundle holds plain files alone", kind_words(kind))));
        }
        let found = header.path_bytes();
        if *found != *name.as_bytes() {
            let found: String = String::from_utf8_lossy(&found).chars().take(100).collect();
            return Err(wrong(format!("is called {found:?} where {name} belongs")));
        }
        let bytes = header.entry_size().map_err(|error| wrong(format!("has no size: {error}")))?;
        if !fits(bytes) {
            return Err(wrong(format!("has {bytes} bytes, which {name} may not have")));
        }
        let padded = bytes.next_multiple_of(BLOCK as u64);
        let mut read = Vec::new();
        // Never more memory than has really come.
        let got = (&mut self.input).take(padded).read_to_end(&mut read);
        got.map_err(|error| of_stream(error, || format!("entry {at}, {name}")))?;
        if (read.len() as u64) < padded {
            return Err(ArchiveError::CutShort { place: format!("entry {at}, {name}") });
        }
        read.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(read)
    }

    /// Nothing but padding may follow, in the archive, behind its compression, and in the file.
    fn end(mut self) -> Result<(), ArchiveError> {
        let mut rest = Vec::new();
        let got = (&mut self.input).take(PADDING_BYTES_MAX + 1).read_to_end(&mut rest);
        got.map_err(|error| of_stream(error, || "its end".into()))?;
        let is_padding = rest.len() as u64 <= PADDING_BYTES_MAX && rest.iter().all(|byte| *byte == 0);
        if rest.len() < 2 * BLOCK && is_padding {
            return Err(ArchiveError::CutShort { place: "its end".into() });
        }
        let mut input = self.input.into_inner();
        let rest = input.fill_buf().map_err(|error| of_stream(error, || "its end".into()))?;
        let is_over = rest.is_empty();
        if is_padding && is_over { Ok(()) } else { Err(ArchiveError::More) }
    }

    fn exactly(&mut self, bytes: &mut [u8], place: impl FnOnce() -> String) -> Result<(), ArchiveError> {
        self.input.read_exact(bytes).map_err(|error| of_stream(error, place))
    }
}

fn signed(manifest: &[u8]) -> Vec<u8> {
    [SIGNED, manifest].concat()
}

fn content_name(digest: Digest) -> String {
    format!("content/{digest}")
}

fn of_stream(error: io::Error, place: impl FnOnce() -> String) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::CutShort { place: place() },
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => ArchiveError::NotGzip(error),
        _ => ArchiveError::Io(error),
    }
}

fn kind_words(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link | EntryType::Symlink => "a link",
        EntryType::Char | EntryType::Block | EntryType::Fifo => "a device",
        EntryType::Directory => "a directory",
        _ => "of a kind of its own",
    }
}

#[cfg(test)]
#[path = "archive_test.rs"]
pub(crate) mod tests;
