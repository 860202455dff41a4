//! Bundles of results that nobody but their cluster reads: the age format (<https://c2sp.org/age>) around the archive.
//!
//! A cluster's key is made of a secret that its members have and nobody else ([`PURPOSE`]); its public half, a [`Recipient`],
//! goes out with the orders. The crate `age` encrypts and decrypts. Decided here: which header is parsed at all, because a file
//! says of itself how long its header is, and what each error means. What is encrypted is decrypted as it is read, and lies
//! nowhere in the clear.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::str::FromStr;

use age::stream::{StreamReader, StreamWriter};
use age::{DecryptError, Decryptor, Encryptor, x25519};
use bech32::{FromBase32, ToBase32, Variant};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;

/// What the secret is for that a [`ClusterKey`] is made of. Another word would be another key, and no bundle that is underway
/// could be read any more.
pub const PURPOSE: &str = "pentora bundles 1";

/// What a file in the age format begins with; the version follows.
const MAGIC: &[u8] = b"age-encryption.org/";
/// The first line of a header of the one version there is.
const VERSION: &[u8] = b"age-encryption.org/v1\n";
/// What the last line of a header begins with: its code of authentication, in 43 letters, follows.
const LAST_LINE: &[u8] = b"--- ";
const LAST_LINE_BYTES: usize = LAST_LINE.len() + 43 + 1;
/// The largest header, in bytes. Ours: one recipient takes 100 of them, what age adds against parsers that are too strict 200.
const HEADER_BYTES_MAX: usize = 8 << 10;
/// What follows a header before what is encrypted.
const NONCE: [u8; 16] = [0; 16];
/// How much is decrypted at once, in bytes: a piece of the format.
const PIECE_BYTES: usize = 64 << 10;
/// The longest text of a key: `age1` and 58 letters.
const KEY_TEXT_BYTES: usize = 62;

const PUBLIC_PREFIX: &str = "age";
const SECRET_PREFIX: &str = "age-secret-key-";

/// Whom a bundle is encrypted to: a key as age writes it, `age1...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

/// A text that is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key that can be encrypted to: one is `age1` and 58 letters and digits")]
pub struct NoRecipient;

impl FromStr for Recipient {
    type Err = NoRecipient;

    fn from_str(text: &str) -> Result<Self, NoRecipient> {
        if text.len() != KEY_TEXT_BYTES {
            return Err(NoRecipient);
        }
        let (prefix, data, variant) = bech32::decode(text).map_err(|_no_bech32| NoRecipient)?;
        let bytes = Vec::<u8>::from_base32(&data).map_err(|_no_bytes| NoRecipient)?;
        if prefix != PUBLIC_PREFIX || variant != Variant::Bech32 || !is_usable(&bytes) {
            return Err(NoRecipient);
        }
        text.parse().map(Self).map_err(|_no_key| NoRecipient)
    }
}

/// Whether a secret can be agreed on with this key: there are a few with which it is always the same (RFC 7748 section 6.1), and
/// `age` panics over those.
fn is_usable(key: &[u8]) -> bool {
    let Ok(own) = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()) else { return false };
    agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, key), |_agreed| ()).is_ok()
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A cluster's key: what is encrypted to its recipient is read with it.
#[derive(Clone)]
pub struct ClusterKey(x25519::Identity);

impl ClusterKey {
    /// The key that is made of these bytes, always the same one.
    ///
    /// # Panics
    /// Never: every 32 bytes are a key.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let text =
            bech32::encode(SECRET_PREFIX, secret.to_base32(), Variant::Bech32).expect("the prefix is a valid one");
        Self(text.parse().expect("32 bytes in bech32 are a key"))
    }

    /// Its public half.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({})", self.recipient())
    }
}

/// Why what is encrypted cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// The file could not be read.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// Nobody here has a key.
    #[error(
        "it is encrypted, and there is no key here to read it with; results go to a member of the cluster that they are \
         encrypted to: pentora coordinator import"
    )]
    NoKey,
    /// Somebody else's key opens it.
    #[error("it is encrypted to another key than this cluster's, which is {own}")]
    OtherKey {
        /// The cluster's.
        own: Recipient,
    },
    /// No key opens it.
    #[error("it is encrypted with a passphrase, and bundles are encrypted to their cluster's key")]
    Passphrase,
    /// A later format.
    #[error("it is encrypted in a version of the age format that this release does not read")]
    Version,
    /// The header ends too early.
    #[error("it is cut short: it ends within its age header")]
    CutShort,
    /// The header is none, or was changed.
    #[error("its age header {0}")]
    Header(&'static str),
}

/// Where a bundle is written to, in the clear or encrypted.
pub enum Sink<W: Write> {
    /// As it is.
    Clear(W),
    /// To a recipient.
    Encrypted(Box<StreamWriter<W>>),
}

impl<W: Write> Sink<W> {
    /// Begins to write, encrypted where there is a recipient.
    ///
    /// # Errors
    /// What the output fails with.
    pub fn new(out: W, to: Option<&Recipient>) -> io::Result<Self> {
        let Some(to) = to else { return Ok(Self::Clear(out)) };
        let to = std::iter::once(&to.0 as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(to).map_err(io::Error::other)?;
        Ok(Self::Encrypted(Box::new(encryptor.wrap_output(out)?)))
    }

    /// Writes what is left, and gives the output back.
    ///
    /// # Errors
    /// What the output fails with.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Clear(out) => Ok(out),
            Self::Encrypted(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(out) => out.write(bytes),
            Self::Encrypted(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(out) => out.flush(),
            Self::Encrypted(out) => out.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Sink<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Clear(_)) { "Sink::Clear" } else { "Sink::Encrypted" })
    }
}

/// What is in `input`, decrypted where that is in the age format. Reading it fails with
/// [`InvalidData`](io::ErrorKind::InvalidData) where a byte was changed, and with it or
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where bytes at the end are missing.
///
/// # Errors
/// [`EncryptionError`].
pub fn open<R: BufRead + 'static>(mut input: R, key: Option<&ClusterKey>) -> Result<Box<dyn BufRead>, EncryptionError> {
    if !input.fill_buf().map_err(EncryptionError::Io)?.starts_with(MAGIC) {
        return Ok(Box::new(input));
    }
    let key = key.ok_or(EncryptionError::NoKey)?;
    let header = header_of(&mut input)?;
    // First by itself: a header that goes on beyond its last line would be sought in all that follows.
    let alone = [header.as_slice(), &NONCE].concat();
    let parsed = Decryptor::new_buffered(alone.as_slice()).map_err(|error| of_header(error, key))?;
    if parsed.is_scrypt() {
        return Err(EncryptionError::Passphrase);
    }
    let decryptor = Decryptor::new_buffered(Cursor::new(header).chain(input)).map_err(|error| of_header(error, key))?;
    let own = std::iter::once(&key.0 as &dyn age::Identity);
    let clear = decryptor.decrypt(own).map_err(|error| of_header(error, key))?;
    Ok(Box::new(BufReader::with_capacity(PIECE_BYTES, Clear(clear))))
}

/// The lines of a header, of which the last one ends it.
fn header_of(input: &mut impl BufRead) -> Result<Vec<u8>, EncryptionError> {
    let mut header = Vec::new();
    loop {
        let begin = header.len();
        let left = HEADER_BYTES_MAX - begin;
        (&mut *input).take(left as u64).read_until(b'\n', &mut header).map_err(EncryptionError::Io)?;
        let line = header.get(begin..).unwrap_or_default();
        let is_last = line.starts_with(LAST_LINE);
        match () {
            () if !line.ends_with(b"\n") && line.len() == left => {
                return Err(EncryptionError::Header("is longer than any that is read here"));
            }
            () if !line.ends_with(b"\n") => return Err(EncryptionError::CutShort),
            () if begin == 0 && line != VERSION => return Err(EncryptionError::Version),
            () if is_last && line.len() != LAST_LINE_BYTES => return Err(EncryptionError::Header("is damaged")),
            () if is_last => return Ok(header),
            () => {}
        }
    }
}

/// What the crate says of a header; its own texts are of files in general, and a header that it does not parse is another version's
/// to it, though its first line was looked at before.
fn of_header(error: DecryptError, key: &ClusterKey) -> EncryptionError {
    match error {
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => EncryptionError::CutShort,
        DecryptError::Io(error) => EncryptionError::Io(error),
        DecryptError::NoMatchingKeys => EncryptionError::OtherKey { own: key.recipient() },
        DecryptError::InvalidMac => EncryptionError::Header("was changed"),
        _ => EncryptionError::Header("is damaged"),
    }
}

/// What was encrypted.
struct Clear<R>(StreamReader<R>);

impl<R: Read> Read for Clear<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                io::Error::new(error.kind(), "it does not decrypt: it was changed, or cut short")
            }
            _ => error,
        })
    }
}

#[cfg(test)]
#[path = "encryption_test.rs"]
mod tests;
