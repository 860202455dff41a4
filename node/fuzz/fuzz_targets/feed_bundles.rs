//! A feed as it comes from another node: any bytes, and a block of any bytes behind a good heading. Refused with a place, or entries
//! that ascend and read back, and advisories of which none makes a match fail but by a sentence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_node::feeds::bundle::{BundleWriter, Heading, heading, read};
use pentora_scanner::finding::Service;
use pentora_scanner::vuln::feed::FeedKind;
use pentora_scanner::vuln::matching::Matcher;
use pentora_scanner::vuln::store::{AdvisoryStore, MemoryStore, Row};

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fuzz_target!(|data: &[u8]| {
    check(data);
    let packed = lz4_flex::compress_prepend_size(data);
    let of = Heading { kind: "osv".into(), source: "fuzz".into(), made_at_ms: 7, records: 1 };
    let mut bundle = BundleWriter::new(Vec::new(), &of).expect("in memory").finish().expect("in memory");
    bundle.truncate(bundle.len() - 4);
    bundle.extend(u32::try_from(packed.len()).expect("inputs are short").to_le_bytes());
    bundle.extend(packed);
    bundle.extend([0; 4]);
    check(&bundle);
    // One row, whose value is the rest of the input.
    let Some((kind, value)) = data.split_first() else { return };
    let kind = FeedKind::ALL[usize::from(*kind) % FeedKind::ALL.len()];
    let kept = [b"nginx".as_slice(), b"\0OSV-1"].concat();
    let keys = [[&[kind.byte(), b'p'], &kept[..]].concat(), [&[kind.byte(), b'i'], &b"CVE-2021-44228"[..]].concat()];
    advise(kind, keys.map(|key| (key, value.to_vec())).to_vec());
});

fn check(bytes: &[u8]) {
    let mut entries: Entries = Vec::new();
    let taken = read(bytes, |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    let front = match taken {
        Ok(front) => front,
        Err(error) => return assert!(!error.to_string().contains('\n')),
    };
    assert_eq!(heading(bytes).expect("it was read"), front);
    assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let mut writer = BundleWriter::new(Vec::new(), &front).expect("a heading that was read");
    for (key, value) in &entries {
        if writer.entry(key, value).is_err() {
            // A reader takes longer keys than a writer writes.
            return;
        }
    }
    let mut again: Entries = Vec::new();
    let read = read(&writer.finish().expect("in memory"), |key, value| {
        again.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    assert_eq!(read.expect("what was written reads"), front);
    assert_eq!(again, entries);
    advise(FeedKind::Osv, entries);
}

/// Holds a service against what such rows say.
fn advise(kind: FeedKind, entries: Entries) {
    let mut store = MemoryStore::default();
    store.install(kind, entries.into_iter().map(|(key, value)| Row { key, value }).collect());
    let _ = store.by_product("nginx");
    let service = Service {
        product: Some("nginx".into()),
        version: Some("1.18.0".into()),
        cpes: vec!["cpe:/a:nginx:nginx:1.18.0".into()],
        ..Service::default()
    };
    match Matcher::new(store).weaknesses(&service) {
        Ok(weaknesses) => assert!(weaknesses.iter().all(|weakness| weakness.confidence <= 100)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
