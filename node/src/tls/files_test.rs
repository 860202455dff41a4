//! Certificates and keys from files, good and bad.

use std::os::unix::fs::PermissionsExt;

use super::super::made::{Authority, NOW};
use super::*;

/// 2026.
const NOW_S: i64 = 1_790_000_000;

fn refused(files: &Files) -> String {
    files.read(NOW_S).unwrap_err().to_string()
}

#[test]
fn a_certificate_with_its_chain_and_its_key_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let made = Authority::new().leaf(&["n1"], NOW);
    let files = made.write(folder.path());
    let given = files.read(NOW_S).unwrap();
    assert_eq!(given.certified.cert, made.chain);
    assert_eq!(given.out_of_date, None);
    assert_eq!(first_of(&files.cert).unwrap(), Fingerprint::of(&made.chain[0]));
}

#[test]
fn what_cannot_be_used_is_refused_with_the_file_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let made = authority.leaf(&["n1"], NOW);
    let files = made.write(folder.path());
    let (cert, key) = (std::fs::read(&files.cert).unwrap(), std::fs::read(&files.key).unwrap());
    let other = tempfile::tempdir().unwrap();
    let others = authority.leaf(&["n2"], NOW).write(other.path());
    let mixed = Files { cert: files.cert.clone(), key: others.key };
    assert!(refused(&mixed).contains("is not the key of the certificate"), "{}", refused(&mixed));

    let many: Vec<u8> = std::iter::repeat_n(cert.as_slice(), 50).flatten().copied().collect();
    for (bytes, part) in [
        (Vec::new(), "holds no certificate"),
        (key.clone(), "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".to_vec(), "is not certificates in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(), "cert.pem"),
        (many, "more than 10 certificates"),
        (vec![b'x'; (1 << 20) + 1], "larger than 1 MiB"),
    ] {
        std::fs::write(&files.cert, bytes).unwrap();
        let error = refused(&files);
        assert!(error.contains(part), "{part}: {error}");
    }
    std::fs::write(&files.cert, &cert).unwrap();
    std::fs::write(&files.key, &cert).unwrap();
    assert!(refused(&files).contains("holds no private key"), "{}", refused(&files));
    std::fs::write(&files.key, &key).unwrap();
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&files).contains("chmod 600"), "{}", refused(&files));
    std::fs::remove_file(&files.key).unwrap();
    assert!(refused(&files).contains("key.pem: No such file"), "{}", refused(&files));
    nix::unistd::mkfifo(&files.key, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused(&files).contains("key.pem: is no regular file"), "nobody writes there: {}", refused(&files));
}

#[test]
fn a_certificate_that_is_over_or_not_begun_is_read_and_told() {
    let folder = tempfile::tempdir().unwrap();
    for (years, part) in [((2020, 2021), "expired at"), ((2080, 2090), "is not valid before")] {
        let files = Authority::new().leaf(&["n1"], years).write(folder.path());
        let told = files.read(NOW_S).unwrap().out_of_date.unwrap().to_string();
        assert!(told.contains(part) && told.contains("cert.pem"), "{told}");
    }
}
