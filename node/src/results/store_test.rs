//! Chunks on disk: read back, renewed, replaced, refused.

use std::fs::File;

use futures::FutureExt;

use super::*;

fn open(directory: &Path) -> ChunkStore {
    ChunkStore::open(directory, 0).unwrap()
}

#[tokio::test]
async fn a_chunk_is_read_back_by_name_and_a_damaged_one_is_refused_until_it_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = Bytes::from_static(b"findings");
    let digest = Digest::of(&bytes);
    for store in [open(directory.path()), ChunkStore::memory()] {
        assert_eq!(store.get(digest).await.unwrap(), None);
        assert!(!store.renew(digest).await.unwrap());
        store.put(digest, bytes.clone()).await.unwrap();
        assert_eq!(store.get(digest).await.unwrap(), Some(bytes.clone()));
        let wrong = store.put(Digest::of(b"else"), Bytes::from_static(b"findings")).await;
        assert!(matches!(wrong, Err(StoreError::Damaged { .. })));
    }
    std::fs::write(directory.path().join(digest.to_string()), b"other bytes").unwrap();
    // As it is long after that: until then the journal has it still.
    std::fs::remove_file(directory.path().join("journal.0")).unwrap();
    let store = open(directory.path());
    assert!(!store.list().await.unwrap()[&digest].is_damaged, "nobody has read it yet");
    assert!(matches!(store.get(digest).await, Err(StoreError::Damaged { .. })));
    assert!(store.list().await.unwrap()[&digest].is_damaged);
    tokio::time::timeout(Duration::from_secs(10), store.found_damage()).await.expect("who waits for damage is told");
    assert!(matches!(store.get(digest).await, Err(StoreError::Damaged { .. })));
    assert!(store.found_damage().now_or_never().is_none(), "known damage is no news");
    assert!(!store.renew(digest).await.unwrap());
    store.put(digest, bytes.clone()).await.unwrap();
    assert_eq!(store.get(digest).await.unwrap(), Some(bytes));
    assert!(!store.list().await.unwrap()[&digest].is_damaged);
}

#[tokio::test]
async fn usage_is_that_of_whole_chunks_alone() {
    let directory = tempfile::tempdir().unwrap();
    for store in [open(directory.path()), ChunkStore::memory()] {
        for bytes in [&b"one"[..], b"three", b"one"] {
            store.put(Digest::of(bytes), Bytes::from_static(bytes)).await.unwrap();
        }
        std::fs::write(directory.path().join("abc.tmp"), b"half").unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { chunks: 2, bytes: 8 });
        store.remove(vec![Digest::of(b"one")]).await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { chunks: 1, bytes: 5 });
    }
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_removed_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("abc.tmp"), b"half").unwrap();
    open(directory.path());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_chunk_that_is_asked_to_be_kept_again_is_young_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = Digest::of(b"x");
    store.put(digest, Bytes::from_static(b"x")).await.unwrap();
    let file = File::options().write(true).open(directory.path().join(digest.to_string())).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert!(store.list().await.unwrap()[&digest].age > Duration::from_secs(1_000_000));
    assert!(store.renew(digest).await.unwrap());
    assert!(store.list().await.unwrap()[&digest].age < Duration::from_secs(1_000));
    store.remove(vec![digest, Digest::of(b"never here")]).await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 0);
}

#[tokio::test]
async fn below_the_floor_of_free_space_no_chunk_is_taken_and_those_that_are_here_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (here, bytes) = (Digest::of(b"here"), Bytes::from_static(b"here"));
    open(directory.path()).put(here, bytes.clone()).await.unwrap();
    let store = ChunkStore::open(directory.path(), u64::MAX).unwrap();
    let refused = store.put(Digest::of(b"x"), Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { floor_bytes: u64::MAX, .. }), "{refused}");
    store.put(here, bytes.clone()).await.unwrap();
    assert_eq!(store.get(here).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_disk_is_tried_by_writing_to_it_and_nothing_is_left_of_that() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.try_disk().await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    std::fs::remove_dir(directory.path()).unwrap();
    store.try_disk().await.unwrap_err();
    ChunkStore::memory().try_disk().await.unwrap();
}

/// How often the journal of a store was synced.
fn syncs(store: &ChunkStore) -> usize {
    let Place::Directory { journal, .. } = &*store.0 else { panic!("it is in memory") };
    lock(journal).syncs
}

fn small(count: u32) -> Vec<(Digest, Bytes)> {
    let bytes = (0..count).map(|number| Bytes::from(format!("results of unit {number}")));
    bytes.map(|bytes| (Digest::of(&bytes), bytes)).collect()
}

async fn put_all(store: &ChunkStore, chunks: &[(Digest, Bytes)]) {
    let puts = chunks.iter().map(|(digest, bytes)| store.put(*digest, bytes.clone()));
    for put in futures::future::join_all(puts).await {
        put.unwrap();
    }
}

#[tokio::test]
async fn small_chunks_that_come_together_are_synced_together() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let chunks = small(200);
    put_all(&store, &chunks).await;
    assert!((1..=20).contains(&syncs(&store)), "{} syncs for 200 chunks", syncs(&store));
    assert_eq!(store.list().await.unwrap().len(), 200);
    for (digest, bytes) in &chunks {
        assert_eq!(store.get(*digest).await.unwrap().as_ref(), Some(bytes));
    }
    let before = syncs(&store);
    put_all(&store, &chunks).await;
    assert_eq!(syncs(&store), before, "they are there");
}

#[tokio::test]
async fn what_a_crash_took_of_the_files_of_small_chunks_is_in_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let chunks = small(50);
    put_all(&open(directory.path()), &chunks).await;
    let file = |digest: Digest| directory.path().join(digest.to_string());
    // As after a power failure: some files never came, some are empty, and the journal ends in the middle of a record.
    for (digest, _) in &chunks[..20] {
        std::fs::remove_file(file(*digest)).unwrap();
    }
    for (digest, _) in &chunks[20..40] {
        std::fs::write(file(*digest), b"").unwrap();
    }
    let mut journal = File::options().append(true).open(directory.path().join("journal.0")).unwrap();
    journal.write_all(&[9, 0, 0, 0, 1, 2, 3]).unwrap();
    let store = open(directory.path());
    for (digest, bytes) in &chunks {
        assert_eq!(store.get(*digest).await.unwrap().as_ref(), Some(bytes));
    }
    assert!(!directory.path().join("journal.0").exists(), "it is in the files");
    let more = small(60);
    put_all(&store, &more).await;
    assert_eq!(store.list().await.unwrap().len(), 60);
}

#[tokio::test]
async fn a_journal_that_is_long_is_emptied_and_the_other_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let large = |number: u32| Bytes::from(number.to_le_bytes().repeat(SMALL_BYTES_MAX / 4));
    let chunks: Vec<_> = (0..200).map(large).map(|bytes| (Digest::of(&bytes), bytes)).collect();
    for together in chunks.chunks(10) {
        put_all(&store, together).await;
    }
    let length = || {
        let files = ["journal.0", "journal.1"].map(|name| std::fs::metadata(directory.path().join(name)));
        files.into_iter().flatten().map(|file| file.len()).sum::<u64>()
    };
    let begun = std::time::Instant::now();
    while length() > 6 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} bytes", length());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = open(directory.path());
    assert_eq!(store.list().await.unwrap().len(), 200);
    assert_eq!(store.get(chunks[7].0).await.unwrap().as_ref(), Some(&chunks[7].1));
}

fn journals(directory: &Path) -> Vec<u8> {
    let files = ["journal.0", "journal.1"].map(|name| std::fs::read(directory.join(name)));
    files.into_iter().flatten().flatten().collect()
}

#[tokio::test]
async fn what_is_removed_leaves_the_journal_soon_though_nothing_else_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let chunks = small(9);
    put_all(&store, &chunks).await;
    let has = |(_, bytes): &(Digest, Bytes)| journals(directory.path()).windows(bytes.len()).any(|at| at == bytes);
    assert!(has(&chunks[0]) && has(&chunks[8]));
    // Both before it is time to, and one while the journal that had the other is being emptied or just was.
    store.remove(vec![chunks[0].0]).await.unwrap();
    store.remove(vec![chunks[8].0]).await.unwrap();
    let begun = std::time::Instant::now();
    while has(&chunks[0]) || has(&chunks[8]) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(open(directory.path()).list().await.unwrap().len(), 7);
}

#[tokio::test]
async fn a_damaged_record_keeps_no_other_chunk_from_being_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let chunks = small(30);
    put_all(&open(directory.path()), &chunks).await;
    for (digest, _) in &chunks {
        std::fs::remove_file(directory.path().join(digest.to_string())).unwrap();
    }
    let mut journal = journals(directory.path());
    let (damaged, bytes) = &chunks[3];
    let at = journal.windows(bytes.len()).position(|at| at == bytes).unwrap();
    journal[at] ^= 1;
    std::fs::write(directory.path().join("journal.0"), journal).unwrap();
    let store = open(directory.path());
    for (digest, bytes) in chunks.iter().filter(|(digest, _)| digest != damaged) {
        assert_eq!(store.get(*digest).await.unwrap().as_ref(), Some(bytes));
    }
    assert_eq!(store.get(*damaged).await.unwrap(), None);
}

#[tokio::test]
async fn a_journal_that_was_not_looked_through_to_its_end_is_kept_the_last_one_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let chunks = small(2);
    for (number, (digest, bytes)) in (1u8..).zip(&chunks) {
        put_all(&open(directory.path()), &[(*digest, bytes.clone())]).await;
        std::fs::remove_file(file(&digest.to_string())).unwrap();
        // Every place behind the chunk looks like the head of a long one.
        let damaged = [std::fs::read(file("journal.0")).unwrap(), [0, 0, 1, 0].repeat(2 << 20), vec![number]].concat();
        std::fs::write(file("journal.0"), &damaged).unwrap();
        let store = open(directory.path());
        assert_eq!(store.get(*digest).await.unwrap().as_ref(), Some(bytes), "what stands before is read");
        assert!(!file("journal.0").exists(), "it is not read again at each start");
        assert!(std::fs::read(file("journal.damaged")).unwrap() == damaged, "number {number}");
    }
    let store = open(directory.path());
    assert!(file("journal.damaged").exists());
    assert_eq!(store.list().await.unwrap().len(), 2, "it counts as no chunk");
}

#[tokio::test]
async fn a_journal_that_is_written_holds_up_no_thread_of_the_runtime_when_chunks_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let chunks = small(3);
    put_all(&store, &chunks).await;
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let (end, is_over) = std::sync::mpsc::sync_channel::<()>(1);
    let held = store.clone();
    let writing = std::thread::spawn(move || {
        let Place::Directory { journal, .. } = &*held.0 else { panic!("it is in memory") };
        let _held = lock(journal);
        begun.send(()).unwrap();
        is_over.recv_timeout(Duration::from_secs(20))
    });
    has_begun.recv().unwrap();
    let removing = store.remove(vec![chunks[0].0]);
    let removed = tokio::time::timeout(Duration::from_millis(100), removing).await;
    assert!(removed.is_err(), "the clock went on while it waited");
    end.send(()).unwrap();
    writing.join().unwrap().expect("it was told to end");
    // It goes on though nobody waits for it.
    let (_, bytes) = &chunks[0];
    let begun = std::time::Instant::now();
    while journals(directory.path()).windows(bytes.len()).any(|at| at == bytes) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn the_directory_is_synced_by_the_descriptor_that_was_there_before_the_writes() {
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    std::fs::create_dir(&before).unwrap();
    let mut journal = Journal::open(&before, |_, _| Ok(())).unwrap();
    let bytes = Bytes::from(vec![7; 5 << 20]);
    assert!(journal.is_ready());
    journal.append(std::iter::once((Digest::of(&bytes), &bytes))).unwrap();
    let retired = journal.turn().unwrap();
    // A new descriptor, which hears of no earlier failure, could not be had.
    std::fs::rename(&before, &after).unwrap();
    retired.empty().unwrap();
    assert_eq!(std::fs::metadata(after.join("journal.0")).unwrap().len(), 0);
}
