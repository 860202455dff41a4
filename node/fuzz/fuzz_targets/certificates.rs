//! Certificates and keys that an operator names: PEM of any bytes, and certificates of any bytes in PEM. Refused in one line, or what
//! can be shown.
#![no_main]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_node::tls::{Authority, Files, Leaf, Pair, Wanted, certificate_pem, first_of};

const NOW_S: i64 = 1_700_000_000;

/// Files without names; they are opened anew through their descriptors.
static CERTIFICATE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().expect("a file"));
static KEY: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().expect("a file"));

/// A certificate, its authority's and its key, in PEM.
static MADE: LazyLock<String> = LazyLock::new(|| {
    let authority = Authority::make(&[7; 16], NOW_S).expect("a key");
    let pair = Pair::generate().expect("a key");
    let wanted = Wanted { node: "n1".into(), hosts: vec!["a.example".into()], is_member: true };
    let chain = authority.sign(pair.point(), &wanted, NOW_S).expect("it is for this key");
    pair.with(chain).expect("it was signed for this key").to_pem()
});

fuzz_target!(|data: &[u8]| {
    check(data, data);
    check(MADE.as_bytes(), data);
    // Bent at one place.
    if let Some(([at, bits], more)) = data.split_first_chunk::<2>() {
        let mut bent = [MADE.as_bytes(), more].concat();
        let at = usize::from(*at) * MADE.len() / 256;
        bent[at] ^= bits;
        check(&bent, &bent);
    }
    let pem = certificate_pem(data);
    check(pem.as_bytes(), data);
    // A certificate in front of a key, in one file.
    check(&[pem.as_bytes(), data].concat(), data);
    // What a leader signed for a node.
    let (own, authority) = data.split_at(data.len() / 2);
    if own.first() == Some(&0x30)
        && let Ok(leaf) = Pair::generate().expect("a key").with(vec![own.to_vec(), authority.to_vec()])
    {
        assert!(Leaf::from_pem(leaf.to_pem().as_bytes()).is_ok());
    }
});

fn check(certificate: &[u8], key: &[u8]) {
    let cert = written(&CERTIFICATE, certificate);
    let files = Files { cert: cert.clone(), key: written(&KEY, key) };
    let _ = first_of(&cert).map_err(|error| one_line(&error.to_string()));
    match files.read(NOW_S) {
        Ok(given) => assert!(given.out_of_date.is_some() || given.ends_s >= NOW_S),
        Err(error) => one_line(&error.to_string()),
    }
    match Leaf::from_pem(certificate) {
        Ok(leaf) => {
            let _ = leaf.is_due(NOW_S);
            let again = Leaf::from_pem(leaf.to_pem().as_bytes()).expect("what was written reads");
            assert_eq!(again.authority(), leaf.authority());
        }
        Err(said) => one_line(&said),
    }
}

fn written(file: &File, bytes: &[u8]) -> PathBuf {
    file.set_len(0).expect("a file");
    file.write_all_at(bytes, 0).expect("a file");
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn one_line(said: &str) {
    assert!(!said.is_empty() && !said.contains('\n') && said.len() < 4096, "{said:?}");
}
