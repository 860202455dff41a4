//! ClientHello messages by hand, so that versions can be asked for that no TLS library speaks any more.
//!
//! RFC 6101 (SSL 3.0), 2246, 4346, 5246 and 8446 with their extensions. No handshake is ever finished with one of these:
//! the server's first flight tells what there is to know.

/// A version of the protocol, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 6101.
    Ssl3,
    /// RFC 2246.
    Tls10,
    /// RFC 4346.
    Tls11,
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [Self::Ssl3, Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];

    /// Its usual name, such as `TLSv1.2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssl3 => "SSLv3",
            Self::Tls10 => "TLSv1.0",
            Self::Tls11 => "TLSv1.1",
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub fn wire(self) -> u16 {
        match self {
            Self::Ssl3 => 0x0300,
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

/// Suites of TLS 1.3, which older versions do not know.
const SUITES_13: [u16; 5] = [0x1302, 0x1303, 0x1301, 0x1304, 0x1305];
/// Suites up to TLS 1.2, the good ones first: with an old server any that it knows will do, down to RC4 and export.
const SUITES: [u16; 37] = [
    0xc02c, 0xc030, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0x009f, 0x009e, 0xccaa, // forward secret, authenticated
    0xc024, 0xc028, 0xc023, 0xc027, 0xc00a, 0xc014, 0xc009, 0xc013, 0x006b, 0x0067, 0x0039,
    0x0033, // forward secret
    0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x0041, 0x0084, // RSA key exchange
    0xc012, 0x0016, 0x000a, 0x0005, 0x0004, 0x0009, 0x0003,
    0x00ff, // 3DES, RC4, DES, export; renegotiation is safe
];
/// Suites up to TLS 1.2 for a server that has none of the others: signed with DSA, CCM, ARIA, without a certificate,
/// without encryption. They are asked for apart, since a hello with all of them is longer than some old servers take.
const SUITES_RARE: [u16; 45] = [
    0x00a3, 0x00a2, 0x006a, 0x0040, 0x0038, 0x0032, 0x0087, 0x0044, 0x0013, 0x0012, 0x0066, // DSA
    0xc0ad, 0xc0ac, 0xc09f, 0xc09e, 0xc09d, 0xc09c, 0xc0af, 0xc0ae, 0xc0a3, 0xc0a2, // CCM
    0xc05d, 0xc05c, 0xc061, 0xc060, 0xc053, 0xc052, 0xc051, 0xc050, // ARIA
    0x00a7, 0x00a6, 0x006d, 0x006c, 0x003a, 0x0034, 0x001b, 0x0018, 0xc019, 0xc018, // anonymous
    0xc010, 0xc006, 0x003b, 0x0002, 0x0001, // no encryption
    0x00ff,
];
/// Suites that nobody should speak any more: 3DES, RC4, RC2, DES, export, no encryption, no certificate (RFC 9325 section 4.1,
/// RFC 7465).
pub(super) const SUITES_WEAK: [u16; 42] = [
    0xc012, 0xc008, 0x0016, 0x0013, 0x000a, 0xc00d, 0xc003, // 3DES
    0xc011, 0xc007, 0x0005, 0x0004, 0xc00c, 0xc002, 0x0066, // RC4
    0x0015, 0x0012, 0x0009, 0x0007, // DES, IDEA
    0x0014, 0x0011, 0x0008, 0x0006, 0x0003, 0x0062, 0x0064, // export
    0xc010, 0xc006, 0x003b, 0x0002, 0x0001, // no encryption
    0x00a7, 0x00a6, 0x006d, 0x006c, 0x003a, 0x0034, 0x001b, 0x0018, 0xc019, 0xc018, 0xc017,
    0xc016, // no certificate
];
/// X25519, P-256, P-384, P-521, X448, and Brainpool's of 256, 384 and 512 bits (RFC 7027).
const GROUPS: [u16; 8] = [0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x001a, 0x001b, 0x001c];
/// Groups that only TLS 1.3 has beside the others: ffdhe2048, ffdhe3072, ffdhe4096 (RFC 7919), Brainpool's (RFC 8734).
const GROUPS_13: [u16; 6] = [0x0100, 0x0101, 0x0102, 0x001f, 0x0020, 0x0021];
/// ECDSA, RSA-PSS with either kind of key, Ed25519, Ed448, Brainpool's in TLS 1.3, RSA and DSA, down to SHA-1.
const SIGNATURES: [u16; 21] = [
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0807, 0x0808, 0x081a, 0x081b, 0x081c,
    0x0401, 0x0501, 0x0601, 0x0402, 0x0203, 0x0201, 0x0202,
];
/// Application protocols by IANA's names. A hello is only a question, so that it offers what any server may insist on, not
/// only what would be spoken inside.
pub(super) const ALPN: [&str; 13] = [
    "http/1.1",
    "h2",
    "dot",
    "mqtt",
    "postgresql",
    "xmpp-client",
    "imap",
    "pop3",
    "ftp",
    "irc",
    "ntske/1",
    "sunrpc",
    "tds/8.0",
];

/// A ClientHello, in its record, that offers exactly these versions; `versions` is not empty.
///
/// `name` is a host name for the server name indication (RFC 6066), never an address. `random` is for the hello's
/// random and its key share: any 32 bytes are a point of X25519.
#[must_use]
pub fn client_hello(versions: &[Version], name: Option<&str>, random: [u8; 32]) -> Vec<u8> {
    hello_of(&Offer::default(), versions, name, random)
}

/// What a hello offers beside its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer<'a> {
    /// The suites.
    pub(super) suites: Suites<'a>,
    /// What would be spoken inside; none for a hello that does not name anything, as old ones do not.
    pub(super) protocols: &'a [&'a str],
}

impl Default for Offer<'_> {
    /// What nearly any server takes something of.
    fn default() -> Self {
        Self { suites: Suites::Usual, protocols: &ALPN }
    }
}

/// Which suites of versions before TLS 1.3 a hello offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suites<'a> {
    /// Those that nearly every server has one of.
    Usual,
    /// Those of the few others.
    Rare,
    /// These.
    These(&'a [u16]),
}

/// The same, with a choice of what it offers.
pub(super) fn hello_of(offer: &Offer<'_>, versions: &[Version], name: Option<&str>, random: [u8; 32]) -> Vec<u8> {
    let newest = versions.iter().copied().max().unwrap_or(Version::Tls12);
    let is_13 = newest == Version::Tls13;
    let mut body = newest.min(Version::Tls12).wire().to_be_bytes().to_vec();
    body.extend(random);
    // RFC 8446 appendix D.4: a session id makes TLS 1.3 look like a resumption to boxes on the way.
    prefixed8(&mut body, |body| body.extend(if is_13 { &random[..] } else { &[] }));
    prefixed16(&mut body, |body| {
        if is_13 {
            numbers(body, &SUITES_13);
        }
        if versions.iter().any(|version| *version < Version::Tls13) {
            match offer.suites {
                Suites::Usual => numbers(body, &SUITES),
                Suites::Rare => numbers(body, &SUITES_RARE),
                Suites::These(suites) => numbers(body, suites),
            }
        }
    });
    body.extend([1, 0]); // no compression
    if newest > Version::Ssl3 {
        let mut block = Vec::new();
        extensions(&mut block, offer.protocols, versions, name, random);
        pad(&mut block, body.len());
        prefixed16(&mut body, |body| body.extend(block));
    }
    let mut message = vec![1];
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    message.extend(length.iter().skip(1));
    message.extend(body);
    let mut record = vec![22];
    record.extend(newest.min(Version::Tls10).wire().to_be_bytes());
    prefixed16(&mut record, |record| record.extend(message));
    record
}

fn extensions(out: &mut Vec<u8>, protocols: &[&str], versions: &[Version], name: Option<&str>, random: [u8; 32]) {
    // A name that cannot be in a hello (RFC 1035: 255 bytes) is left out.
    if let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= 255) {
        extension(out, 0, |out| {
            prefixed16(out, |out| {
                out.push(0);
                prefixed16(out, |out| out.extend(name.as_bytes()));
            });
        });
    }
    extension(out, 10, |out| {
        prefixed16(out, |out| {
            numbers(out, &GROUPS);
            // To an older server they would say which of its own groups it may not use.
            if versions.iter().all(|version| *version == Version::Tls13) {
                numbers(out, &GROUPS_13);
            }
        });
    });
    extension(out, 11, |out| out.extend([1, 0]));
    if versions.iter().any(|version| *version >= Version::Tls12) {
        extension(out, 13, |out| prefixed16(out, |out| numbers(out, &SIGNATURES)));
    }
    if !protocols.is_empty() {
        extension(out, 16, |out| {
            prefixed16(out, |out| protocols.iter().for_each(|name| prefixed8(out, |out| out.extend(name.as_bytes()))));
        });
    }
    if versions.contains(&Version::Tls13) {
        extension(out, 43, |out| {
            prefixed8(out, |out| versions.iter().rev().for_each(|version| out.extend(version.wire().to_be_bytes())));
        });
        extension(out, 51, |out| {
            prefixed16(out, |out| {
                out.extend([0x00, 0x1d]);
                prefixed16(out, |out| out.extend(random));
            });
        });
    }
}

/// RFC 7685: a common load balancer hangs on messages of 256 to 511 bytes, so those are filled up to 512.
fn pad(block: &mut Vec<u8>, before: usize) {
    // The message's own head, and the length of the block.
    let length = 4 + before + 2 + block.len();
    if (256..512).contains(&length) {
        extension(block, 21, |out| out.resize((512 - length).saturating_sub(4), 0));
    }
}

fn extension(out: &mut Vec<u8>, number: u16, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend(number.to_be_bytes());
    prefixed16(out, content);
}

fn numbers(out: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
}

fn prefixed8(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    content(&mut inner);
    out.push(u8::try_from(inner.len()).expect("a session id, a name or a list of versions"));
    out.extend(inner);
}

fn prefixed16(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    content(&mut inner);
    out.extend(u16::try_from(inner.len()).expect("a hello of a few hundred bytes").to_be_bytes());
    out.extend(inner);
}

#[cfg(test)]
mod tests {
    use rustls::server::Acceptor;

    use super::*;

    #[test]
    fn a_tls_library_reads_what_was_meant() {
        let hello = client_hello(&[Version::Tls12, Version::Tls13], Some("a.example"), [7; 32]);
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &hello[..]).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let read = accepted.client_hello();
        assert_eq!(read.server_name(), Some("a.example"));
        assert_eq!(read.alpn().unwrap().collect::<Vec<_>>(), ALPN.map(str::as_bytes));
        let signatures: Vec<u16> = read.signature_schemes().iter().map(|scheme| u16::from(*scheme)).collect();
        assert!([0x0809, 0x080a, 0x080b, 0x081a].iter().all(|scheme| signatures.contains(scheme)), "{signatures:x?}");
        let groups = [0x00, 0x1d, 0x00, 0x17, 0x00, 0x18, 0x00, 0x19, 0x00, 0x1e, 0x00, 0x1a, 0x00, 0x1b, 0x00, 0x1c];
        assert!(hello.windows(groups.len()).any(|window| window == groups), "Brainpool's are offered to TLS 1.2 too");
        assert_eq!(read.cipher_suites().len(), SUITES.len() + SUITES_13.len());
        let bare = hello_of(&Offer { protocols: &[], ..Offer::default() }, &[Version::Tls12], None, [7; 32]);
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &bare[..]).unwrap();
        assert!(acceptor.accept().unwrap().unwrap().client_hello().alpn().is_none());
    }

    #[test]
    fn lengths_add_up_in_every_version() {
        let of_all = |protocols| Version::ALL.map(|version| (version, protocols));
        for (version, protocols) in of_all(&ALPN[..]).into_iter().chain(of_all(&[])) {
            let hello = hello_of(&Offer { protocols, ..Offer::default() }, &[version], None, [1; 32]);
            assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
            assert_eq!(u32::from_be_bytes([0, hello[6], hello[7], hello[8]]) as usize, hello.len() - 9);
            assert_eq!(u16::from_be_bytes([hello[9], hello[10]]), version.wire().min(0x0303));
            assert!(
                !(256..512).contains(&(hello.len() - 5)),
                "{version:?}: {} bytes hang a load balancer",
                hello.len()
            );
        }
    }
}
