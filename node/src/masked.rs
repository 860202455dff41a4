//! Texts that others read, without our secrets: whoever gives a token where a name is wanted has it neither in an error nor in the
//! audit log.
//!
//! Looked for are what tokens of the API (`pna_`), join tokens (`pnj_`) and workers' credentials (`pnw_`) begin with, and JWTs,
//! also where characters of them are written as `%70`. What is masked may be more than the secret, and never less: everything
//! behind such a beginning that could belong to one.

use std::borrow::Cow;

use pentora_raft::id::looks_secret;

/// What our secrets begin with.
const BEGINNINGS: [&[u8]; 3] = [b"pna_", b"pnj_", b"pnw_"];
/// How a JWT begins: `{"` in base64.
const JWT: &[u8] = b"eyJ";
/// From this length on, what is behind a beginning may be (a part of) a secret. Ours: in what is shorter, too little is known of
/// 26 characters and more to be of use, and words of ours about tokens stay as they are.
const SECRET_CHARACTERS_MIN: usize = 8;
/// What stands where a secret was.
const MASK: &str = "***";

/// A byte of a text as it is meant, and where it stands there.
#[derive(Debug, Clone, Copy)]
struct Meant {
    byte: u8,
    start: usize,
    end: usize,
}

/// The text, with what a secret begins with alone in place of each secret.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains(['_', '%', '.']) {
        return Cow::Borrowed(text);
    }
    let meant = meant(text.as_bytes());
    let (mut shown, mut shown_to, mut at) = (String::new(), 0, 0);
    while let Some(rest) = meant.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((beginning, length)) = secret(rest) else {
            at += 1;
            continue;
        };
        let (first, behind) = (rest.first(), rest.get(length - 1));
        let (Some(first), Some(last)) = (first, behind) else { break };
        // All of these are places where a character begins or ends: only such are part of a secret.
        shown.push_str(text.get(shown_to..first.start).unwrap_or_default());
        shown.push_str(beginning);
        shown.push_str(MASK);
        shown_to = last.end;
        at += length;
    }
    if shown_to == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(text.get(shown_to..).unwrap_or_default());
    Cow::Owned(shown)
}

/// Whether a text that others are to read has a secret in it, as it was typed: less than what is masked, so that no word is refused.
pub(crate) fn has_secret(text: &str) -> bool {
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.any(|word| word.contains('_') && looks_secret(word))
        || text.match_indices(".eyJ").any(|(at, _)| is_jwt(text, at))
}

/// Whether the dot at this place parts the heading of a JWT from what it says: both begin with `{"`.
fn is_jwt(text: &str, dot: usize) -> bool {
    let (before, behind) = text.split_at(dot);
    let is_other = |c: char| !(c.is_ascii() && u8::try_from(c).is_ok_and(is_of_secret));
    let heading = before.rsplit(is_other).next().unwrap_or_default();
    let claims = behind.get(1..).unwrap_or_default().split(is_other).next().unwrap_or_default();
    heading.starts_with("eyJ") && heading.len().min(claims.len()) >= SECRET_CHARACTERS_MIN
}

/// How the secret begins that a text begins with, and how many bytes it has as they are meant.
fn secret(text: &[Meant]) -> Option<(&'static str, usize)> {
    let begins =
        |with: &[u8]| text.len() >= with.len() && text.iter().zip(with).all(|(meant, byte)| same(meant, *byte));
    let run = |from: usize| text.iter().skip(from).take_while(|meant| is_of_secret(meant.byte)).count();
    if let Some(beginning) = BEGINNINGS.into_iter().find(|beginning| begins(beginning)) {
        let length = run(beginning.len());
        let beginning = std::str::from_utf8(beginning).unwrap_or_default();
        return (length >= SECRET_CHARACTERS_MIN).then_some((beginning, beginning.len() + length));
    }
    // Three parts, or as much as there is of them: two are what is signed, of which a holder may know the rest.
    if text.len() < JWT.len() || !text.iter().zip(JWT).all(|(meant, byte)| meant.byte == *byte) {
        return None;
    }
    let mut length = run(0);
    let mut parts = 1;
    while text.get(length).is_some_and(|meant| meant.byte == b'.') && run(length + 1) > 0 {
        length += 1 + run(length + 1);
        parts += 1;
    }
    (parts > 1 && length >= 2 * SECRET_CHARACTERS_MIN).then_some(("eyJ", length))
}

fn same(meant: &Meant, byte: u8) -> bool {
    meant.byte.eq_ignore_ascii_case(&byte)
}

/// Whether a secret of ours may have this: base32 or, in a JWT, base64 for URLs.
fn is_of_secret(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The bytes of a text as a server reads them: `%70` is `p`, and so is `%2570`, which somebody else encoded once more.
fn meant(text: &[u8]) -> Vec<Meant> {
    let mut all = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let (byte, end) = encoded(text, at).unwrap_or((byte, at + 1));
        all.push(Meant { byte, start: at, end });
        at = end;
    }
    all
}

/// What is written as `%XX` at a place, and where that ends.
fn encoded(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let hex_at = |at: usize| {
        let digit = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok()
    };
    if text.get(at) != Some(&b'%') {
        return None;
    }
    let mut from = at + 1;
    let mut byte = hex_at(from)?;
    while byte == b'%'
        && let Some(inner) = hex_at(from + 2)
    {
        from += 2;
        byte = inner;
    }
    Some((byte, from + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT_TEXT: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJjaSJ9.c2lnbmF0dXJl-_x";

    /// Each byte as `%XX`.
    fn percent(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    #[test]
    fn secrets_of_every_kind_are_masked_wherever_they_stand_and_however_they_are_encoded() {
        let body = "mfrggzdfmztwq2lk".repeat(3);
        let access = format!("pna_{body}");
        for secret in [access.clone(), format!("pnj_{body}{body}"), format!("pnw_{body}{body}"), JWT_TEXT.to_owned()] {
            let mask = format!("{}***", if secret == JWT_TEXT { "eyJ" } else { &secret[..4] });
            let twice = percent(&secret).replace('%', "%25");
            let half = format!("%70{}", &secret[1..]);
            let mut forms = vec![secret.clone(), percent(&secret), percent(&secret).to_lowercase(), twice];
            if secret != JWT_TEXT {
                forms.push(half);
            }
            for form in forms {
                let text = format!("POST /api/v1/jobs/{form}/cancel");
                assert_eq!(masked(&text), format!("POST /api/v1/jobs/{mask}/cancel"), "{form}");
                let text = format!("there is no access token `{form}`; é `{form}`");
                assert_eq!(masked(&text), format!("there is no access token `{mask}`; é `{mask}`"), "{form}");
            }
            let cut = &secret[..secret.len() - 5];
            assert_eq!(masked(cut), mask, "most of a secret is one");
        }
        assert_eq!(masked(&access.to_ascii_uppercase()), "pna_***");
        assert_eq!(masked(&format!("x{access}=")), "xpna_***=");
    }

    #[test]
    fn a_text_with_a_secret_in_it_is_known_and_names_and_hosts_that_look_a_little_like_one_are_not() {
        let body = "mfrggzdfmztwq2lk".repeat(3);
        for secret in [format!("pna_{body}"), format!("PNJ_{body}"), format!("pnw_{body}"), JWT_TEXT.to_owned()] {
            for text in [secret.clone(), format!("10.0.0.1,{secret}"), format!("é {secret}\n"), format!("a={secret};")]
            {
                assert!(has_secret(&text), "{text}");
            }
        }
        for text in [
            "",
            "10.0.0.0/8\nhost_name.example # pna_ and pnj_<token>",
            "eyJ.local",
            "heyJude-server.example.com",
            "a.eyJhbGciOiJFZERTQSJ9",
            "the token of pna_monitoring",
        ] {
            assert!(!has_secret(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for text in [
            "",
            "DELETE /api/v1/tokens/ci",
            "POST /api/v1/jobs/job-5f1e/cancel",
            "this is not a join token: it should begin with `pnj_`",
            "pna_... is what a token looks like, and pnj_<token>",
            "/api/v1/cluster/nodes/eyJ.local/promote",
            "/api/v1/tokens/100%25/rotate %zz % %2 %25 é.ü_ß",
            "10.0.0.0/8, fd00::/8",
        ] {
            assert!(matches!(masked(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
