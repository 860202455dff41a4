//! What is encrypted reads back with its own key alone, and no header makes anybody read or wait without end.

use super::*;

/// A key, its recipient as `age-keygen -y` tells it, and the key as it writes it.
const KEY: [u8; 32] = [7; 32];
const RECIPIENT: &str = "age1zwlyl6h27gzv0lfntr7fcqrjrzqazap8sy5zylkxwneh7llf0dksu37mwt";

/// More than two pieces of the format.
fn text() -> Vec<u8> {
    (0u8..=250).cycle().take(150_000).collect()
}

fn encrypted(text: &[u8], to: &Recipient) -> Vec<u8> {
    let mut out = Sink::new(Vec::new(), Some(to)).unwrap();
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn read(bytes: &[u8], key: Option<&ClusterKey>) -> Result<Vec<u8>, String> {
    let mut input = open(Cursor::new(bytes.to_vec()), key).map_err(|error| error.to_string())?;
    let mut read = Vec::new();
    input.read_to_end(&mut read).map_err(|error| error.to_string())?;
    Ok(read)
}

/// A header of these stanzas, of which nothing is true.
fn header(stanzas: &str) -> Vec<u8> {
    format!("age-encryption.org/v1\n{stanzas}--- {}\n", "A".repeat(43)).into_bytes()
}

#[test]
fn a_secret_is_the_same_key_in_every_release() {
    let key = ClusterKey::from_secret(&KEY);
    assert_eq!(key.recipient().to_string(), RECIPIENT);
    assert_eq!(RECIPIENT.parse::<Recipient>().unwrap(), key.recipient());
    assert_eq!(format!("{key:?}"), format!("ClusterKey({RECIPIENT})"), "the key itself is never shown");
}

#[test]
fn what_is_encrypted_reads_back_with_its_own_key_alone_and_what_is_not_reads_as_it_is() {
    let (key, other) = (ClusterKey::from_secret(&KEY), ClusterKey::from_secret(&[8; 32]));
    for text in [text(), b"x".to_vec(), Vec::new(), vec![1; PIECE_BYTES], vec![2; 2 * PIECE_BYTES]] {
        let bytes = encrypted(&text, &key.recipient());
        assert!(bytes.starts_with(VERSION));
        assert_eq!(read(&bytes, Some(&key)).unwrap(), text);
        assert!(read(&bytes, Some(&other)).unwrap_err().contains("another key than this cluster's, which is age1"));
        assert!(read(&bytes, None).unwrap_err().contains("no key here"));
        let clear = {
            let mut out = Sink::new(Vec::new(), None).unwrap();
            out.write_all(&text).unwrap();
            out.finish().unwrap()
        };
        assert_eq!(clear, text);
        assert_eq!(read(&clear, Some(&key)).unwrap(), text);
        assert_eq!(read(&clear, None).unwrap(), text);
    }
}

#[test]
fn a_file_that_is_cut_or_changed_anywhere_is_refused() {
    let key = ClusterKey::from_secret(&KEY);
    let bytes = encrypted(&text(), &key.recipient());
    // From where the format is known by.
    for end in (MAGIC.len()..600).chain((600..bytes.len()).step_by(1_009)).chain([bytes.len() - 1]) {
        assert!(read(&bytes[..end], Some(&key)).is_err(), "cut at {end}");
    }
    for at in (MAGIC.len()..600).chain((600..bytes.len()).step_by(1_009)).chain([bytes.len() - 1]) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(read(&changed, Some(&key)).is_err(), "byte {at}");
    }
    for more in [&b"\n"[..], &bytes] {
        assert!(read(&[&bytes, more].concat(), Some(&key)).is_err());
    }
    // Behind the header, which is longer at times: its format has whoever writes it add what nobody reads.
    let header = bytes.windows(5).position(|at| at == b"\n--- ").unwrap() + 49;
    assert!(read(&bytes[..header + 100], Some(&key)).unwrap_err().contains("cut short"));
}

#[test]
fn hostile_headers_are_refused_by_what_they_are() {
    let key = ClusterKey::from_secret(&KEY);
    let of = |stanzas: &str| [header(stanzas), vec![0; 100]].concat();
    let share = "A".repeat(43);
    let line = |letters: usize| format!("{}\n", "A".repeat(letters));
    let lines = |line: &str, count: usize| line.repeat(count);
    let endless = [VERSION, &vec![b'x'; 1 << 20]].concat();
    for (bytes, told) in [
        (of(&format!("-> scrypt {} 18\n{}", "A".repeat(22), line(43))), "with a passphrase"),
        (of(&format!("-> scrypt {} 18\n{}-> x\n\n", "A".repeat(22), line(43))), "is damaged"),
        (of(""), "is damaged"),
        (of("-> x\n\n"), "another key"),
        (of("-> \n\n"), "is damaged"),
        (of("x\n"), "is damaged"),
        (of(&format!("-> X25519\n{}", line(43))), "is damaged"),
        (of(&format!("-> X25519 {share} {share}\n{}", line(43))), "is damaged"),
        (of(&format!("-> X25519 {share}\n{}", line(20))), "is damaged"),
        // A share with which every secret is the same.
        (of(&format!("-> X25519 {share}\n{}", line(43))), "is damaged"),
        (of(&lines("-> x\n\n", 2_000)), "longer than any"),
        (of(&format!("-> x\n{}\n", lines(&line(64), 200))), "longer than any"),
        (endless, "longer than any"),
        ([VERSION, b"-> x\n\n--- \n"].concat(), "is damaged"),
        ([VERSION, b"-> x\n\n--- ", line(44).as_bytes()].concat(), "is damaged"),
        (b"age-encryption.org/v2\n--- x\n".to_vec(), "in a version"),
        (b"age-encryption.org/v1".to_vec(), "cut short"),
        (b"age-encryption.org/v1\n".to_vec(), "cut short"),
        (b"age-encryption.org/".to_vec(), "cut short"),
        (header("-> x\n\n"), "cut short"),
    ] {
        let error = read(&bytes, Some(&key)).unwrap_err();
        assert!(
            error.contains(told),
            "{:?}: {error}",
            String::from_utf8_lossy(&bytes).chars().take(80).collect::<String>()
        );
    }
    let many = of(&lines("-> x\n\n", 1_300));
    assert!(many.len() < HEADER_BYTES_MAX && read(&many, Some(&key)).unwrap_err().contains("another key"));
}

#[test]
fn a_text_that_is_no_key_to_encrypt_to_is_refused() {
    for text in [
        "",
        "age1",
        &RECIPIENT[..61],
        RECIPIENT.replace("age1z", "age1q").as_str(),
        RECIPIENT.replace("age1", "agg1").as_str(),
        "AGE-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSKMP32K",
        // Zero and one: whoever encrypts to them has the secret that everybody has.
        "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
        "age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya",
    ] {
        assert_eq!(text.parse::<Recipient>(), Err(NoRecipient), "{text}");
    }
}
