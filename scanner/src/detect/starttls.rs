//! How protocols go from clear text to TLS: the words before the handshake, as pure steps over what was read.
//!
//! SMTP RFC 3207, IMAP RFC 9051, POP3 RFC 2595, FTP RFC 4217, LDAP RFC 4511 section 4.14, XMPP RFC 6120 section 5,
//! ManageSieve RFC 5804 section 2.2, [MS-RDPBCGR] section 1.3.1.1, [MS-TDS] section 2.2.6.5, and the documented start of the
//! PostgreSQL and MySQL protocols.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::{self, Patience, Stream};
use super::tds;

/// Longest wait for each answer.
const STEP_WAIT: Duration = Duration::from_secs(3);
/// Most steps of one upgrade: greeting, capabilities, command.
const STEPS_MAX: usize = 4;
/// Longest answer that is read: a greeting or a list of capabilities is a few hundred bytes.
const REPLY_BYTES_MAX: usize = 8 * 1024;

/// LDAP: ExtendedRequest for 1.3.6.1.4.1.1466.20037 as message 1.
const LDAP_START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// PostgreSQL: SSLRequest.
const POSTGRESQL_SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// MySQL: the capability that says TLS.
const MYSQL_CLIENT_SSL: u32 = 0x0800;
/// MySQL: protocol 4.1 and secure connection beside TLS.
const MYSQL_CAPABILITIES: u32 = MYSQL_CLIENT_SSL | 0x0200 | 0x8000;

/// A protocol that can be upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// `STARTTLS` after `EHLO`.
    Smtp,
    /// `STARTTLS`.
    Imap,
    /// `STLS`.
    Pop3,
    /// `AUTH TLS`.
    Ftp,
    /// The StartTLS extended operation.
    Ldap,
    /// SSLRequest.
    Postgresql,
    /// SSLRequest after the server's greeting.
    Mysql,
    /// A connection request that offers TLS, and CredSSP inside it.
    Rdp,
    /// A pre-login that asks for encryption; the handshake travels in the protocol's packets.
    Mssql,
    /// `<starttls/>`.
    Xmpp,
    /// `STARTTLS` after the list of capabilities.
    ManageSieve,
}

/// X.224 connection request with a negotiation of TLS and CredSSP ([MS-RDPBCGR] sections 2.2.1.1 and 2.2.1.1.1).
const RDP_REQUEST: &[u8] = &[3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0];
/// The head of a stream to whatever host is there.
const XMPP_STREAM: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const XMPP_TLS: &[u8] = b"urn:ietf:params:xml:ns:xmpp-tls";

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// What came so far is no whole answer.
    Wait,
    /// Send this and read on.
    Send(Vec<u8>),
    /// The handshake begins.
    Handshake,
    /// It will not.
    Refused,
}

impl Upgrade {
    /// The upgrade that a service has, by its name.
    #[must_use]
    pub fn of(service: &str) -> Option<Self> {
        match service {
            "smtp" | "submission" => Some(Self::Smtp),
            "imap" => Some(Self::Imap),
            "pop3" => Some(Self::Pop3),
            "ftp" => Some(Self::Ftp),
            "ldap" => Some(Self::Ldap),
            "postgresql" => Some(Self::Postgresql),
            "mysql" | "mariadb" => Some(Self::Mysql),
            "ms-wbt-server" => Some(Self::Rdp),
            "mssql" => Some(Self::Mssql),
            "xmpp" | "xmpp-client" | "xmpp-server" => Some(Self::Xmpp),
            "managesieve" => Some(Self::ManageSieve),
            _ => None,
        }
    }

    /// The word by which the protocol calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Smtp | Self::Imap | Self::ManageSieve => "STARTTLS",
            Self::Pop3 => "STLS",
            Self::Ftp => "AUTH TLS",
            Self::Ldap => "StartTLS",
            Self::Postgresql | Self::Mysql => "SSLRequest",
            Self::Rdp => "RDP negotiation",
            Self::Mssql => "TDS pre-login",
            Self::Xmpp => "starttls",
        }
    }

    /// What to do after `sent` messages of ours, with `reply` having come since the last of them.
    #[must_use]
    pub fn next(self, sent: usize, reply: &[u8]) -> Move {
        let line = |bytes: &[u8]| Move::Send(bytes.to_vec());
        match (self, sent) {
            (Self::Smtp, 0) => after(code(reply), b'2', || line(b"EHLO scanner.invalid\r\n")),
            (Self::Smtp, 1) => after(code(reply), b'2', || {
                if contains(reply, b"STARTTLS") { line(b"STARTTLS\r\n") } else { Move::Refused }
            }),
            (Self::Smtp, _) | (Self::Ftp, 1..) => after(code(reply), b'2', || Move::Handshake),
            (Self::Ftp, 0) => after(code(reply), b'2', || line(b"AUTH TLS\r\n")),
            (Self::Imap, 0) => tagged(reply, b"* OK", || line(b"a1 STARTTLS\r\n")),
            (Self::Imap, _) => tagged(reply, b"a1 OK", || Move::Handshake),
            (Self::Pop3, 0) => tagged(reply, b"+OK", || line(b"STLS\r\n")),
            (Self::Pop3, _) => tagged(reply, b"+OK", || Move::Handshake),
            (Self::Ldap, 0) => line(LDAP_START_TLS),
            (Self::Ldap, _) => ldap_result(reply),
            (Self::Postgresql, 0) => line(POSTGRESQL_SSL_REQUEST),
            (Self::Postgresql, _) => match reply.first() {
                None => Move::Wait,
                Some(b'S') => Move::Handshake,
                Some(_) => Move::Refused,
            },
            (Self::Mysql, 0) => mysql_request(reply),
            (Self::Mysql, _) => Move::Handshake,
            (Self::Rdp, 0) => line(RDP_REQUEST),
            (Self::Rdp, _) => rdp_confirm(reply),
            (Self::Mssql, 0) => line(tds::ASK),
            (Self::Mssql, _) => match tds::agrees(reply) {
                None => Move::Wait,
                Some(true) => Move::Handshake,
                Some(false) => Move::Refused,
            },
            (Self::Xmpp, 0) => line(XMPP_STREAM),
            (Self::Xmpp, 1) => element(reply, b"</stream:features>", |reply| match contains(reply, XMPP_TLS) {
                true => Move::Send([b"<starttls xmlns='", XMPP_TLS, b"'/>"].concat()),
                false => Move::Refused,
            }),
            (Self::Xmpp, _) => element(reply, b">", |reply| match contains(reply, b"<proceed") {
                true => Move::Handshake,
                false => Move::Refused,
            }),
            (Self::ManageSieve, 0) => {
                sieve(reply, || if contains(reply, b"\"STARTTLS\"") { line(b"STARTTLS\r\n") } else { Move::Refused })
            }
            (Self::ManageSieve, _) => sieve(reply, || Move::Handshake),
        }
    }

    /// The stream that the handshake is on, once it may begin.
    pub(super) fn carried<'a, S: Stream + 'a>(upgrade: Option<Self>, stream: S) -> Box<dyn Stream + 'a> {
        match upgrade {
            Some(Self::Mssql) => Box::new(tds::Packets::new(stream)),
            _ => Box::new(stream),
        }
    }

    /// Leads a new connection up to the handshake; false where the other side does not want it.
    ///
    /// `name` is the host that is wanted, for protocols that say so at once.
    pub(super) async fn carry_out(
        self,
        stream: &mut (impl Stream + ?Sized),
        name: Option<&str>,
        deadline: Instant,
    ) -> bool {
        let mut reply = Vec::new();
        let mut sent = 0;
        while sent < STEPS_MAX {
            let until = deadline.min(Instant::now() + STEP_WAIT);
            match self.next(sent, &reply) {
                Move::Send(bytes) => {
                    let bytes = match name {
                        Some(name) if self == Self::Xmpp && sent == 0 => to_host(&bytes, name),
                        _ => bytes,
                    };
                    if !connection::send(stream, &bytes, until).await {
                        return false;
                    }
                    sent += 1;
                    reply.clear();
                    // MySQL does not answer before the handshake.
                    if self.next(sent, &reply) == Move::Handshake {
                        return true;
                    }
                }
                Move::Wait => {
                    let patience = Patience { first: until, gap: STEP_WAIT, last: until };
                    let is_enough =
                        |bytes: &[u8]| bytes.len() > REPLY_BYTES_MAX || self.next(sent, bytes) != Move::Wait;
                    connection::read(stream, &mut reply, patience, is_enough).await;
                    if self.next(sent, &reply) == Move::Wait {
                        return false;
                    }
                }
                Move::Handshake => return true,
                Move::Refused => return false,
            }
        }
        false
    }
}

/// The code of a whole reply of SMTP or FTP: its last line has a space after the code (RFC 5321 section 4.2.1).
fn code(reply: &[u8]) -> Option<&[u8]> {
    let whole = reply.strip_suffix(b"\n")?;
    let last = whole.rsplit(|byte| *byte == b'\n').next()?;
    (last.get(3).is_none_or(|byte| *byte == b' ' || *byte == b'\r')).then(|| last.get(..3)).flatten()
}

fn after(code: Option<&[u8]>, class: u8, then: impl FnOnce() -> Move) -> Move {
    match code {
        None => Move::Wait,
        Some(code) if code.first() == Some(&class) => then(),
        Some(_) => Move::Refused,
    }
}

/// Lines until one that begins with `start`, or with a refusal in its place.
fn tagged(reply: &[u8], start: &[u8], then: impl FnOnce() -> Move) -> Move {
    let Some(whole) = reply.strip_suffix(b"\n") else { return Move::Wait };
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if last.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)) {
        return then();
    }
    // IMAP may say things between; anything tagged or negative is an answer.
    if last.starts_with(b"* ") && !last.starts_with(b"* BYE") { Move::Wait } else { Move::Refused }
}

/// The head of a stream to that host, if its name can be in one.
fn to_host(head: &[u8], name: &str) -> Vec<u8> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    match head.strip_suffix(b">") {
        Some(open) if is_plain => [open, format!(" to='{name}'>").as_bytes()].concat(),
        _ => head.to_vec(),
    }
}

/// Up to an element's end; a stream's error, or its end, is a refusal.
fn element(reply: &[u8], end: &[u8], then: impl FnOnce(&[u8]) -> Move) -> Move {
    match () {
        () if contains(reply, b"<stream:error") || contains(reply, b"</stream:stream") => Move::Refused,
        () if contains(reply, end) => then(reply),
        () => Move::Wait,
    }
}

/// Lines up to one that begins with `OK`, or with a refusal.
fn sieve(reply: &[u8], then: impl FnOnce() -> Move) -> Move {
    let Some(whole) = reply.strip_suffix(b"\n") else { return Move::Wait };
    match whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default() {
        last if last.starts_with(b"OK") => then(),
        last if last.starts_with(b"NO") || last.starts_with(b"BYE") => Move::Refused,
        _ => Move::Wait,
    }
}

/// A connection confirm that chose TLS (1), CredSSP (2) or its extension (8).
fn rdp_confirm(reply: &[u8]) -> Move {
    match reply {
        [3, 0, 0, 19, _, 0xd0, _, _, _, _, _, 2, _, 8, 0, 1 | 2 | 8, ..] if reply.len() >= 19 => Move::Handshake,
        [3, 0, 0, length, ..] if reply.len() < usize::from(*length) => Move::Wait,
        [] | [_] | [_, _] | [_, _, _] => Move::Wait,
        _ => Move::Refused,
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// ExtendedResponse with result code 0: `30 len, 02 01 01, 78 len, 0a 01 00`.
fn ldap_result(reply: &[u8]) -> Move {
    match reply {
        [] => Move::Wait,
        [0x30, ..] => match reply.windows(3).position(|window| matches!(window, [0x0a, 1, _])) {
            Some(at) if reply.get(at + 2) == Some(&0) && reply.contains(&0x78) => Move::Handshake,
            Some(_) => Move::Refused,
            None if reply.len() < 14 => Move::Wait,
            None => Move::Refused,
        },
        _ => Move::Refused,
    }
}

/// The SSLRequest for a greeting of protocol 10, where it offers TLS.
fn mysql_request(greeting: &[u8]) -> Move {
    let Some(([a, b, c, _], body)) = greeting.split_first_chunk::<4>() else { return Move::Wait };
    let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, 0])).unwrap_or(usize::MAX);
    let Some(body) = body.get(..length) else { return Move::Wait };
    let Some((10, rest)) = body.split_first() else { return Move::Refused };
    let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Move::Refused };
    // Version and its zero, connection id, eight bytes of challenge, a filler; then the lower half of the capabilities.
    let at = end + 1 + 4 + 8 + 1;
    match rest.get(at..at + 2) {
        Some([low, high]) if u32::from(u16::from_le_bytes([*low, *high])) & MYSQL_CLIENT_SSL != 0 => {
            let mut request = vec![32, 0, 0, 1];
            request.extend(MYSQL_CAPABILITIES.to_le_bytes());
            request.extend([0, 0, 0, 1, 33]);
            request.extend([0; 23]);
            Move::Send(request)
        }
        _ => Move::Refused,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: [Upgrade; 11] = [
        Upgrade::Smtp,
        Upgrade::Imap,
        Upgrade::Pop3,
        Upgrade::Ftp,
        Upgrade::Ldap,
        Upgrade::Postgresql,
        Upgrade::Mysql,
        Upgrade::Rdp,
        Upgrade::Mssql,
        Upgrade::Xmpp,
        Upgrade::ManageSieve,
    ];

    /// Feeds replies one by one and tells what was sent, up to the handshake (true) or the refusal.
    fn play(upgrade: Upgrade, replies: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
        let (mut sent, mut replies, mut reply) = (Vec::new(), replies.iter(), &[][..]);
        loop {
            match upgrade.next(sent.len(), reply) {
                Move::Wait => reply = replies.next().expect("it waits for more than there is"),
                Move::Send(bytes) => {
                    sent.push(bytes);
                    reply = &[];
                }
                Move::Handshake => return (sent, true),
                Move::Refused => return (sent, false),
            }
        }
    }

    #[test]
    fn mail_and_file_servers_are_asked_in_their_words() {
        let smtp: &[&[u8]] =
            &[b"220-a\r\n", b"220-a\r\n220 b\r\n", b"250-x\r\n250-STARTTLS\r\n250 y\r\n", b"220 go\r\n"];
        let (sent, begins) = play(Upgrade::Smtp, smtp);
        assert!(begins && sent[0].starts_with(b"EHLO ") && sent[1] == b"STARTTLS\r\n");
        let (sent, begins) = play(Upgrade::Smtp, &[b"220 a\r\n", b"250 SIZE\r\n"]);
        assert!(!begins && sent.len() == 1, "not offered, so not asked for");
        assert!(play(Upgrade::Ftp, &[b"220 (vsFTPd 3.0.3)\r\n", b"234 Proceed.\r\n"]).1);
        assert!(!play(Upgrade::Ftp, &[b"220 x\r\n", b"530 Please login\r\n"]).1);
        assert!(play(Upgrade::Imap, &[b"* OK ready\r\n", b"* x\r\n", b"* x\r\na1 OK begin\r\n"]).1);
        assert!(!play(Upgrade::Imap, &[b"* OK ready\r\n", b"a1 BAD no\r\n"]).1);
        assert!(play(Upgrade::Pop3, &[b"+OK\r\n", b"+OK\r\n"]).1);
        assert!(!play(Upgrade::Pop3, &[b"+OK\r\n", b"-ERR\r\n"]).1);
    }

    #[test]
    fn binary_protocols_are_asked_in_theirs() {
        let yes = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        let no = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00";
        assert!(play(Upgrade::Ldap, &[yes]).1 && !play(Upgrade::Ldap, &[no]).1);
        assert_eq!(LDAP_START_TLS.len(), 2 + usize::from(LDAP_START_TLS[1]));
        assert!(play(Upgrade::Postgresql, &[b"S"]).1 && !play(Upgrade::Postgresql, &[b"N"]).1);
        let mut greeting = b"\x00\x00\x00\x00\x0a8.0.1\x00....12345678\x00".to_vec();
        greeting.extend([0xff, 0xff, 33, 2, 0, 0, 0]);
        greeting[0] = u8::try_from(greeting.len() - 4).unwrap();
        let (sent, begins) = play(Upgrade::Mysql, &[&greeting[..9], &greeting]);
        assert!(begins && sent[0].len() == 36);
        let at = greeting.len() - 6;
        greeting[at] = 0xf7;
        assert!(!play(Upgrade::Mysql, &[&greeting]).1, "offered by a capability only");
    }

    #[test]
    fn desktops_messengers_and_scripts_are_asked_in_theirs() {
        let confirm = |chosen: u8| [3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0x1f, 8, 0, chosen, 0, 0, 0];
        assert!(play(Upgrade::Rdp, &[&confirm(2)[..7], &confirm(2)]).1 && play(Upgrade::Rdp, &[&confirm(1)]).1);
        assert!(!play(Upgrade::Rdp, &[&confirm(0)]).1, "its own encryption");
        assert!(!play(Upgrade::Rdp, &[&[3, 0, 0, 19, 14, 0xd0, 0, 0, 0, 0, 0, 3, 0, 8, 0, 2, 0, 0, 0]]).1);
        assert!(!play(Upgrade::Rdp, &[&[3, 0, 0, 11, 6, 0xd0, 0, 0, 0x12, 0x34, 0]]).1, "an old server");
        let head = b"<?xml version='1.0'?><stream:stream from='a.example' version='1.0'>";
        let features = [&head[..], b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"].concat();
        let proceed = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
        let (sent, begins) = play(Upgrade::Xmpp, &[head, &features, proceed]);
        assert!(begins && sent[1].starts_with(b"<starttls "));
        assert!(
            !play(Upgrade::Xmpp, &[b"<stream:stream><stream:error><host-unknown/></stream:error></stream:stream>"]).1
        );
        let capable = b"\"SIEVE\" \"x\"\r\n\"STARTTLS\"\r\nOK ready\r\n";
        assert!(play(Upgrade::ManageSieve, &[capable, b"OK go\r\n"]).1);
        assert!(!play(Upgrade::ManageSieve, &[b"\"SIEVE\" \"x\"\r\nOK ready\r\n"]).1);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(reply in proptest::collection::vec(any::<u8>(), 0..80), sent in 0_usize..4) {
            for upgrade in EVERY {
                let asked = upgrade.next(sent, &reply);
                prop_assert!(!matches!(asked, Move::Send(bytes) if bytes.len() > 128));
            }
        }
    }
}
