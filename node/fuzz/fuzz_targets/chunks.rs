//! The results of a unit as they come from another node or a medium: any bytes, and a block of any bytes behind a good heading.
//! Refused, or records that read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_node::results::{ChunkReader, ChunkWriter, Heading};
use pentora_raft::JobId;
use pentora_raft::command::UnitKey;

const HEADING: Heading = Heading { unit: UnitKey { job: JobId(9), partition: 0, start: 0 }, end: 200 };

fuzz_target!(|data: &[u8]| {
    check(data);
    let packed = lz4_flex::compress_prepend_size(data);
    let mut chunk = ChunkWriter::new(&HEADING).finish().to_vec();
    chunk.extend(u32::try_from(packed.len()).expect("inputs are short").to_le_bytes());
    chunk.extend(packed);
    check(&chunk);
    // The size that is claimed is not the one that comes.
    let Some((size, rest)) = data.split_first_chunk::<4>() else { return };
    let mut chunk = ChunkWriter::within(Some("eu"), &HEADING).finish().to_vec();
    chunk.extend(u32::try_from(data.len()).expect("inputs are short").to_le_bytes());
    chunk.extend(size);
    chunk.extend(rest);
    check(&chunk);
});

fn check(bytes: &[u8]) {
    let Ok(reader) = ChunkReader::open(bytes.to_vec().into()) else { return };
    let (heading, region) = (reader.heading(), reader.region().map(str::to_owned));
    let records = match reader.into_records() {
        Ok(records) => records,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut writer = ChunkWriter::within(region.as_deref(), &heading);
    records.iter().for_each(|record| writer.push(record));
    let read = ChunkReader::open(writer.finish()).expect("what was written reads");
    assert_eq!((read.heading(), read.region()), (heading, region.as_deref()));
    assert_eq!(read.into_records().expect("what was written reads"), records);
}
