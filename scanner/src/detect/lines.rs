//! Lines of text protocols: whether one has come whole, and whether it is an answer or a complaint about the question.
//!
//! A line may come in several segments. Half of one must not be judged as if it were whole: half a version is another
//! version. Protocols in which the server speaks first complain of whoever speaks before it; that is not its greeting.

use std::sync::Arc;
use std::time::Duration;

use super::matcher::Match;
use super::{http, ports};

/// How much of the front of an answer is looked at.
const FRONT_BYTES: usize = 64;
/// Ends of prompts, behind which no line end comes.
const PROMPT_ENDS: [u8; 7] = *b":>#$?%]";

/// How long a line that has begun is waited for to end: it may come in parts, with the version in the last of them.
pub(super) const LINE_WAIT: Duration = Duration::from_millis(2500);
/// How long the last of several lines is waited for, where those before it say that it is to come.
const LAST_LINE_WAIT: Duration = Duration::from_secs(7);

/// How long a server of IRC is waited for while it looks its caller up: longer than most name servers and `ident` take, shorter
/// than both take that are silent.
const WELCOME_WAIT: Duration = Duration::from_secs(7);

/// How long the rest of an answer is to be waited for: longer where its last line says that another follows than for a line
/// without its end; `None` where it is whole.
pub(super) fn wait_for_the_rest(bytes: &[u8]) -> Option<Duration> {
    // White space alone is no line: iperf3 answers with a tabulator.
    if !is_text(bytes) || bytes.trim_ascii().is_empty() {
        return None;
    }
    if http::is_http(bytes) {
        return http::read_head(bytes).is_none().then_some(LINE_WAIT);
    }
    let Some(whole) = bytes.strip_suffix(b"\n") else {
        let is_prompt = bytes.trim_ascii_end().last().is_some_and(|byte| PROMPT_ENDS.contains(byte));
        return (!is_prompt && !is_list_of_svn(bytes)).then_some(LINE_WAIT);
    };
    let line = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
    matches!(line, [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b'-', ..]).then_some(LAST_LINE_WAIT)
}

/// How long the rest of a greeting is to be waited for where the server usually speaks first, with so much time `left`: all of it
/// for half a line or packet; and a while where SSH is usual and has not said its own line; `None` where it is whole.
pub(super) fn wait_for_greeting(bytes: &[u8], port: u16, left: Duration) -> Option<Duration> {
    let is_half_a_packet = match bytes {
        // Of MySQL: its length, the number 0, the version of the protocol or that it is an error.
        [a, b, 0, 0, 10 | 255, rest @ ..] => rest.len() + 1 < usize::from(u16::from_le_bytes([*a, *b])),
        _ => ports::greets_by_packet(port) && (1..5).contains(&bytes.len()),
    };
    if is_half_a_packet || wait_for_the_rest(bytes).is_some() {
        return Some(left);
    }
    let is_line = is_text(bytes) && bytes.ends_with(b"\n") && !begins_with_a_code(bytes) && !http::is_http(bytes);
    (is_line && ports::greets_by_ssh(port) && of_ssh(bytes).is_none()).then(|| LINE_WAIT.min(left))
}

/// What a server of SSH says, from its own line on: others may come before it (RFC 4253 section 4.2).
pub(super) fn of_ssh(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.starts_with(b"SSH-") {
        return Some(bytes);
    }
    let at = bytes.windows(5).position(|window| window == b"\nSSH-")?;
    bytes.get(at + 1..)
}

/// Whether it answers by the codes of SMTP and FTP.
fn begins_with_a_code(bytes: &[u8]) -> bool {
    matches!(bytes, [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', ..])
}

/// Whether a list of Subversion's protocol has come whole, which no line ends.
fn is_list_of_svn(bytes: &[u8]) -> bool {
    bytes.starts_with(b"( success (") && bytes.trim_ascii_end().ends_with(b")")
}

/// How long whoever asked to be let in is to wait for it, where a server of IRC says that it still looks its caller up;
/// `None` where it has let it in or refused, and for everything else.
pub(super) fn wait_for_welcome(bytes: &[u8]) -> Option<Duration> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(words_of_irc);
    let is_looking = lines.next().is_some_and(|[word, to]| word == b"NOTICE" && matches!(to, b"*" | b"AUTH"));
    // Its version is in 004, which the numbers before it come with; 451 says that it is too early to ask for it.
    let is_over = |[word, _]: [&[u8]; 2]| matches!(word, b"004" | b"ERROR" | b"432" | b"433" | b"464" | b"465");
    (is_looking && !lines.any(is_over)).then_some(WELCOME_WAIT)
}

/// The command of a line of IRC, and whom it is to (RFC 2812 section 2.3.1).
fn words_of_irc(line: &[u8]) -> [&[u8]; 2] {
    let line = line.strip_prefix(b":").map_or(line, |line| {
        let name = line.iter().take_while(|byte| **byte != b' ').count();
        line.get(name + 1..).unwrap_or_default()
    });
    let mut words = line.splitn(3, |byte| *byte == b' ');
    [words.next().unwrap_or_default(), words.next().unwrap_or_default()]
}

/// Whether an answer is text, as far as its front shows.
fn is_text(bytes: &[u8]) -> bool {
    let front = bytes.get(..FRONT_BYTES).unwrap_or(bytes);
    !front.is_empty() && front.iter().all(|byte| (b' '..=b'~').contains(byte) || byte.is_ascii_whitespace())
}

/// Whether this only says that a question was not wanted, as servers of line protocols do.
pub(super) fn is_complaint(bytes: &[u8]) -> bool {
    match bytes {
        // SMTP, FTP, NNTP and others: transient and lasting refusals.
        [b'4' | b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-' | b'\r' | b'\n', ..] => true,
        _ => {
            // POP3, IMAP, SSH.
            let words: [&[u8]; 5] =
                [b"-ERR", b"* BYE", b"* BAD", b"Protocol mismatch", b"Invalid SSH identification string"];
            words.into_iter().any(|word| bytes.starts_with(word))
        }
    }
}

/// Whether an answer is of a protocol whose lines all end, so that one without its end was cut, also where the server closed
/// behind it: SMTP, FTP and their kin, POP3, IMAP, SSH, the head of an answer of HTTP.
pub(super) fn is_of_lines(bytes: &[u8]) -> bool {
    if http::is_http(bytes) {
        return !is_page(bytes);
    }
    begins_with_a_code(bytes) || [&b"+OK"[..], b"-ERR", b"* ", b"SSH-"].into_iter().any(|word| bytes.starts_with(word))
}

/// Whether an answer of HTTP has got beyond its head: what follows need not end with a line.
fn is_page(bytes: &[u8]) -> bool {
    http::is_http(bytes) && http::read_head(bytes).is_some()
}

/// Whether nothing but what may be of a version stands between this version and the end: `9.2p` is half of `9.2p1`.
fn is_open_ended(bytes: &[u8], version: &[u8]) -> bool {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+' | b'~');
    let rest = bytes.iter().rev().take_while(|byte| goes_on(byte)).count();
    let word = bytes.get(bytes.len() - rest..).unwrap_or_default();
    !version.is_empty() && (bytes.ends_with(version) || word.windows(version.len()).any(|part| part == version))
}

/// The match without its version, where that stands at the end of a line that did not end: it may be half of one.
pub(super) fn without_half_a_version(found: Arc<Match>, bytes: &[u8]) -> Arc<Match> {
    let Some(version) = found.service.version.clone() else { return found };
    let is_last = is_text(bytes)
        && !is_page(bytes)
        && !bytes.ends_with(b"\n")
        && is_open_ended(bytes.trim_ascii_end(), version.as_bytes());
    if !is_last {
        return found;
    }
    let mut whole = Match::clone(&found);
    whole.service.version = None;
    let quoted = version.to_ascii_lowercase();
    whole.service.cpes.retain(|cpe| !cpe.contains(&quoted));
    Arc::new(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Service;

    const HALF: Duration = LINE_WAIT;
    const LAST: Duration = LAST_LINE_WAIT;

    #[test]
    fn an_answer_is_whole_at_the_end_of_its_last_line() {
        for (bytes, expected) in [
            (&b"SSH-2.0-Drop"[..], Some(HALF)),
            (b"SSH-2.0-dropbear\r\n", None),
            (b"220 (vsFTPd 3.", Some(HALF)),
            (b"220-wait\r\n", Some(LAST)),
            (b"220-wait\r\n220 ready\r\n", None),
            (b"220-wait\r\n220 rea", Some(HALF)),
            (b"+OK Dove", Some(HALF)),
            (b"login: ", None),
            (b"box> ", None),
            (b"\xff\xfd\x18", None),
            (b"\t", None),
            (b"HTTP/1.1 200 OK\r\nServer: ngi", Some(HALF)),
            (b"HTTP/1.1 200 OK\r\nServer: nginx\r\n", Some(HALF)),
            (b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n<ht", None),
            (b"", None),
        ] {
            assert_eq!(wait_for_the_rest(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_greeting_is_whole_where_its_line_or_packet_is_and_where_ssh_has_named_itself() {
        const LEFT: Duration = Duration::from_secs(9);
        let mysql = b"\x0a\0\0\0\x0a5.7.44-lo\0";
        for (bytes, port, expected) in [
            (&b"SSH-2.0-Open"[..], 22, Some(LEFT)),
            (b"SSH-2.0-OpenSSH_9.6\r\n", 22, None),
            (b"Keep out\r\n", 22, Some(LINE_WAIT)),
            (b"Keep out\r\nSSH-2.0-x", 8022, Some(LEFT)),
            (b"Keep out\r\nSSH-2.0-x\r\n", 8022, None),
            (b"Keep out\r\n", 21, None),
            (b"220 ready\r\n", 22, None),
            (b"220-wait\r\n", 21, Some(LEFT)),
            (b"login: ", 22, None),
            (b"( success ( 2 2 ( ) ( edit-pipeline ) ) ) ", 3690, None),
            (b"( success ( 2 2 ( ) ( ed", 3690, Some(LEFT)),
            (mysql, 3306, None),
            (&mysql[..7], 3306, Some(LEFT)),
            (&mysql[..2], 3306, Some(LEFT)),
            (b"\xff\xfd\x18", 23, None),
            (b"", 22, None),
        ] {
            assert_eq!(wait_for_greeting(bytes, port, LEFT), expected, "{} on {port}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_server_of_irc_that_looks_its_caller_up_is_waited_for_until_it_has_decided() {
        let looking =
            ":irc.x NOTICE * :*** Looking up your hostname...\r\n:irc.x 451 pntr VERSION :You have not registered.\r\n";
        for (bytes, is_to_come) in [
            (looking.to_owned(), true),
            ("NOTICE AUTH :*** Checking Ident\r\n".to_owned(), true),
            (format!("{looking}:irc.x NOTICE pntr :*** Spoofing your IP\r\n:irc.x 001 pntr :Welcome\r\n"), true),
            (format!("{looking}:irc.x 004 pntr irc.x InspIRCd-3 iosw bk :bk\r\n"), false),
            (format!("{looking}ERROR :Closing link\r\n"), false),
            (format!("{looking}:irc.x 433 * pntr :Nickname is already in use\r\n"), false),
            (":irc.x 001 pntr :Welcome\r\n".to_owned(), false),
            ("220 NOTICE * x\r\n".to_owned(), false),
            (":".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(wait_for_welcome(bytes.as_bytes()).is_some(), is_to_come, "{bytes}");
        }
    }

    #[test]
    fn complaints_are_told_from_answers() {
        for bytes in [
            "554 5.5.1 Error: protocol synchronization error\r\n",
            "421-too fast\r\n",
            "-ERR no\r\n",
            "* BYE x",
            "Protocol mismatch.\n",
        ] {
            assert!(is_complaint(bytes.as_bytes()), "{bytes}");
        }
        for bytes in ["220 ready\r\n", "+OK\r\n", "HTTP/1.1 400 Bad Request\r\n", "5000 items", "* OK", ""] {
            assert!(!is_complaint(bytes.as_bytes()), "{bytes}");
        }
    }

    #[test]
    fn half_a_version_is_none() {
        let found = |version: &str| {
            let cpes = vec![
                format!("cpe:2.3:a:v:p:{version}:*:*:*:*:*:*:*"),
                "cpe:2.3:o:linux:linux_kernel:*:*:*:*:*:*:*:*".to_owned(),
            ];
            let service = Service {
                product: Some("p".to_owned()),
                version: Some(version.to_owned()),
                cpes,
                ..Service::default()
            };
            Arc::new(Match { service, is_soft: false })
        };
        let half = without_half_a_version(found("3."), b"220 (p 3.");
        assert_eq!(
            (half.service.version.as_deref(), half.service.cpes.len(), half.service.product.as_deref()),
            (None, 1, Some("p"))
        );
        assert!(without_half_a_version(found("9.2"), b"SSH-2.0-p_9.2p").service.version.is_none());
        assert!(without_half_a_version(found("3.0"), b"220 (p 3.0)").service.version.is_some());
        assert!(without_half_a_version(found("3.0"), b"220 p 3.0\r\n").service.version.is_some());
        assert!(without_half_a_version(found("3.0"), b"220 p 3.0 rea").service.version.is_some());
    }
}
