//! Bundles that cross an air gap: any bytes, in the clear and as in the age format, and a manifest of any bytes in an archive that is
//! well signed. Refused in a sentence, or what was signed.
#![no_main]

use std::fs::File;
use std::io::{Cursor, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_node::airgap::archive::{ArchiveError, ArchiveReader, ArchiveWriter};
use pentora_node::airgap::encryption::{self, ClusterKey};
use pentora_node::airgap::job_record::{self, Wanted};
use pentora_node::airgap::manifest::{Content, Manifest};
use pentora_node::airgap::queue::Queue;
use pentora_p2p::Identity;
use pentora_raft::Digest;

/// A file without a name; it is opened anew through its descriptor.
static FILE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().expect("a file"));
static SIGNER: LazyLock<Identity> = LazyLock::new(|| Identity::from_secret([7; 32]));
static KEY: LazyLock<ClusterKey> = LazyLock::new(|| ClusterKey::from_secret(&[8; 32]));

fuzz_target!(|data: &[u8]| {
    archive(data);
    for bytes in [data.to_vec(), [b"age-encryption.org/v1\n", data].concat()] {
        match encryption::open(Cursor::new(bytes), Some(&KEY)) {
            Ok(clear) => drop(clear.take(1 << 20).read_to_end(&mut Vec::new())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    // What stands before a zero byte is the manifest, each part behind it a content.
    let mut parts = data.split(|byte| *byte == 0);
    let manifest = parts.next().unwrap_or_default();
    let mut writer = ArchiveWriter::new(Vec::new(), &SIGNER, manifest).expect("in memory");
    let contents: Vec<&[u8]> = parts.filter(|part| !part.is_empty()).collect();
    for part in &contents {
        writer.content(Digest::of(part), part).expect("in memory");
    }
    let bytes = writer.finish().expect("in memory");
    let reader = ArchiveReader::open(bytes.as_slice()).expect("what was written reads");
    assert_eq!((reader.signer(), reader.manifest()), (SIGNER.peer_id(), manifest));
    let listed: Vec<Content> =
        contents.iter().map(|part| Content { digest: Digest::of(part), bytes: part.len() as u64 }).collect();
    let mut taken = Vec::new();
    let read = reader.contents(&listed, |_, bytes| {
        taken.push(bytes);
        Ok::<(), ArchiveError>(())
    });
    read.expect("what was written reads");
    assert_eq!(taken, contents);
    match Manifest::parse(manifest) {
        Ok(read) => assert_eq!(Manifest::parse(&read.to_bytes()).expect("what was written reads"), read),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    archive(&bytes);
});

/// A file as both sides look into it.
fn archive(bytes: &[u8]) {
    FILE.set_len(0).expect("a file");
    FILE.write_all_at(bytes, 0).expect("a file");
    let path = PathBuf::from(format!("/proc/self/fd/{}", FILE.as_raw_fd()));
    let wanted = Wanted { unsigned: true, ..Wanted::default() };
    let said = [
        job_record::verify(&path, &wanted).err().map(|error| error.to_string()),
        Queue::peek(&path).err().map(|error| error.to_string()),
    ];
    assert!(said.iter().flatten().all(|said| !said.is_empty() && said.len() < 8 << 10), "{said:?}");
}
