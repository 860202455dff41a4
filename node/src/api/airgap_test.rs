//! Bundles that nobody reads, and such as do not come.

use std::path::Path;

use super::super::tests::TestNode;
use super::*;

fn spool(directory: &Path) -> Spool {
    Spool::new(directory.to_owned(), 0)
}

/// A bundle that lies there whole.
fn written(spool: &Spool, bytes: usize) -> Spooled {
    let spooled = spool.file().unwrap();
    std::fs::write(&spooled.path, vec![7; bytes]).unwrap();
    spooled
}

fn of(who: &str) -> Extensions {
    let mut beside = Extensions::new();
    beside.insert(Whose::alone(who));
    beside.insert(HangUp(tokio_util::sync::CancellationToken::new()));
    beside
}

/// What an auditor held for ever: the only place, by not reading on.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_nobody_reads_keeps_nobody_from_the_next() {
    let (node, folder) = (TestNode::open().await, tempfile::tempdir().unwrap());
    let spool = spool(folder.path());
    let mut unread = Vec::new();
    for _ in 0..READ_OF_ONE {
        let reader = Reader::of(&spool, &of("auditor")).unwrap();
        unread.push(sent(&node.served, &spool, written(&spool, 1 << 20), reader).await.unwrap());
    }
    let refused = Reader::of(&spool, &of("auditor")).err().unwrap().into_response();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let reader = Reader::of(&spool, &of("other")).unwrap();
    let answer = sent(&node.served, &spool, written(&spool, 1 << 20), reader).await.unwrap();
    let whole = axum::body::to_bytes(answer.into_body(), 2 << 20).await.unwrap();
    assert_eq!(whole, vec![7; 1 << 20]);
    drop(unread);
    // Their files and places go with them.
    let gone = async {
        while std::fs::read_dir(folder.path()).unwrap().next().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert!(Reader::of(&spool, &of("auditor")).is_ok());
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_is_dropped_and_does_not_take_a_part_for_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path());
    let (spooled, beside) = (written(&spool, 1 << 20), of("auditor"));
    let file = File::open(&spooled.path).await.unwrap();
    let (sender, mut receiver) = channel(PIECES_AHEAD);
    let began = Instant::now();
    give_out(file, spooled, Reader::of(&spool, &beside).unwrap(), sender).await;
    assert_eq!(began.elapsed().as_secs(), READ_WITHIN.as_secs());
    assert!(beside.get::<HangUp>().unwrap().0.is_cancelled());
    let mut pieces = Vec::new();
    while let Some(piece) = receiver.recv().await {
        pieces.push(piece.unwrap().len());
    }
    assert_eq!(pieces, [PIECE_BYTES; PIECES_AHEAD], "no end is among them");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_drips_in_gives_its_place_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path());
    let every = tokio::time::interval(Duration::from_secs(1));
    let drip = futures::stream::unfold(every, |mut every| async move {
        every.tick().await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), every))
    });
    let came = spool.receive(Request::new(Body::from_stream(drip))).await.map(drop);
    assert_eq!(came.map_err(|error| error.into_response().status()), Err(StatusCode::REQUEST_TIMEOUT));
    assert!(spool.file().is_ok(), "the place is free");
}
