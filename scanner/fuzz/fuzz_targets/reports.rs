//! Host records from a kept report, or from a peer's chunk: every form of report can be made of them, in text in which nothing is
//! hidden and on a screen in ASCII, and a line of JSON reads back as what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::finding::{HostRecord, is_hidden};
use pentora_scanner::report::{Format, Screen, Summary, json_line, read_json_line, read_json_lines};

fuzz_target!(|data: &[u8]| {
    let _ = read_json_lines(data).count();
    let records = [read_json_line(data).ok(), postcard::from_bytes::<HostRecord>(data).ok()];
    for host in records.into_iter().flatten() {
        check(&host);
    }
});

fn check(host: &HostRecord) {
    let line = json_line(host);
    match read_json_line(line.as_bytes()) {
        Ok(read) => assert_eq!(json_line(&read), line),
        Err(error) => panic!("{error}: {line}"),
    }
    let mut summary = Summary::default();
    summary.count(host);
    for format in Format::ALL {
        let mut out = Vec::new();
        let mut writer = format.writer(&mut out, Screen { ascii: true, columns: 80 });
        writer.host(host).expect("in memory");
        writer.finish(&summary).expect("in memory");
        drop(writer);
        let text = std::str::from_utf8(&out).expect("a report is text");
        let is_bad = |c: &char| match format {
            Format::Table | Format::List => !matches!(c, ' '..='~' | '\n'),
            _ => is_hidden(*c) && !matches!(c, '\n' | '\r' | '\t'),
        };
        assert_eq!(text.chars().find(is_bad), None, "{format:?}: {text}");
        if matches!(format, Format::Json | Format::Sarif | Format::Vex) {
            let read = serde_json::from_slice::<serde_json::Value>(&out);
            assert!(read.is_ok(), "{format:?}: {}", String::from_utf8_lossy(&out));
        }
    }
}
