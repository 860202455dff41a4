//! What a scan's targets are: lists as people have them, nmap's files, exclusions, and the list of what would be scanned.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::api::Api;
use crate::program::{Done, Program, ended};

/// `scan LINE --list-targets -o list`, with nobody to ask.
fn listed(program: &Program, line: &str) -> Done {
    program.run(&format!("scan {line} --list-targets -o list --api http://127.0.0.1:1"))
}

fn bytes(program: &Program, name: &str, bytes: &[u8]) -> String {
    let path = program.file(name, "");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(to_bytes).collect()
}

#[test]
fn what_would_be_scanned_is_printed_without_a_node_and_nothing_is_sent() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let line = "10.77.0.2-5,web.lab,10.77.0.4 --exclude 10.77.0.3,printer.lab";
    let done = program.run(&format!("scan {line} --list-targets --api {}", api.endpoint));
    assert_eq!((done.code, done.stdout.as_str()), (0, "10.77.0.2\n10.77.0.4\n10.77.0.5\nweb.lab\n"), "{}", done.stderr);
    assert!(done.stderr.contains("note: 1 host name as written") && done.stderr.contains("(printer.lab)"));
    let done = program.run(&format!("scan {line} --list-targets --json --local"));
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["targets"], json!(["10.77.0.2", "10.77.0.4", "10.77.0.5", "web.lab"]));
    assert_eq!((&document["targets_total"], &document["names"]), (&json!(4), &json!(1)));
    assert_eq!(document["notes"].as_array().map(Vec::len), Some(2));
    assert_eq!(api.requests(), Vec::<String>::new());

    // What may be scanned is the cluster's to say.
    let outside = listed(&program, "10.0.0.1 192.0.2.1");
    assert_eq!((outside.code, outside.stdout.as_str()), (0, "10.0.0.1\n192.0.2.1\n"), "{}", outside.stderr);
    assert!(outside.stderr.contains("192.0.2.1"), "{}", outside.stderr);
    assert_eq!(program.run("scan 10.0.0.1 --list-targets -o csv").code, 2);
    assert_eq!(program.run("scan 10.0.0.1 --list-targets --detach").code, 2);
}

#[test]
fn a_list_is_printed_as_it_is_made_and_ends_with_its_reader() {
    let program = Program::new();
    let mut child = program.command("scan 10.0.0.0/8 fd00::/66 --list-targets").spawn().unwrap();
    let mut first = [0; 9];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"10.0.0.0\n");
    drop(child.stdout.take());
    let done = ended(child);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "2^62 more were never made");
}

#[test]
fn no_encoding_and_no_line_end_loses_an_exclusion() {
    let program = Program::new();
    let list = "# never scan{}10.77.0.3 # Drucker Gebäude 7{}10.77.0.4\t# plc{}";
    for (name, end) in
        [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r"), ("nel", "\u{85}"), ("ls", "\u{2028}"), ("ff", "\u{c}")]
    {
        let text = list.replace("{}", end);
        let mut files = vec![
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            utf16(&text, u16::to_le_bytes),
            utf16(&text, u16::to_be_bytes),
        ];
        if end.is_ascii() {
            files.push(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect());
        }
        for file in files {
            let path = bytes(&program, name, &file);
            let done = listed(&program, &format!("10.77.0.2-5 --exclude-file {path}"));
            assert_eq!((done.code, done.stdout.as_str()), (0, "10.77.0.2\n10.77.0.5\n"), "{name}: {}", done.stderr);
            assert_eq!(done.stderr, "", "{name}");
        }
    }
    let targets = bytes(&program, "targets", b"10.77.0.2 # a\r10.77.0.3\r\n10.77.0.4\r");
    assert_eq!(listed(&program, &format!("--file {targets}")).stdout, "10.77.0.2\n10.77.0.3\n10.77.0.4\n");
}

#[test]
fn what_cannot_be_read_is_refused_with_file_line_and_column() {
    let program = Program::new();
    for (name, content, expected) in [
        ("byte", b"10.77.0.3\n10.77.0.4 # a\x8510.77.0.5\n".as_slice(), "byte:2:14: the byte 0x85"),
        ("zero", b"10.77.0.3\n1\x000\x00\n", "zero:2:2: a zero character"),
        ("cut", b"\xff\xfe1\x000", "cut:1:2: this is UTF-16 and damaged"),
        ("token", b"# a\r# b\r10.77.0.3, 10.77.0.300\r", "token:3:12: \"10.77.0.300\""),
        ("latin1", b"b\xfcro.lab\n", "latin1:1:1: \"b\u{fc}ro.lab\""),
        ("masscan", b"exclude = 10.77.0.3\nexcludefile = no-dod.txt\n", "masscan:2:1: \"excludefile\""),
    ] {
        let path = bytes(&program, name, content);
        let done = listed(&program, &format!("10.77.0.2-5 --exclude-file {path}"));
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{name}: {}", done.stderr);
        assert!(done.stderr.contains(expected), "{name}: {}", done.stderr);
        let mut command = program.command("scan 10.77.0.2-5 --list-targets --exclude-file -");
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        let (done, expected) = (ended(child), expected.replacen(name, "standard input", 1));
        assert!(done.code == 2 && done.stderr.contains(&expected), "{name}: {}", done.stderr);
    }
}

#[test]
fn an_exclude_file_that_names_nothing_is_warned_of_even_when_all_else_is_quiet() {
    let program = Program::new();
    for content in ["", "\r\n", "# 10.77.0.3\r# 10.77.0.4\r"] {
        let path = program.file("never.txt", content);
        let done = listed(&program, &format!("10.77.0.2 -q --exclude-file {path}"));
        assert_eq!((done.code, done.stdout.as_str()), (0, "10.77.0.2\n"));
        assert!(
            done.stderr.starts_with(&format!("warning: the exclude file {path} names no target")),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn numbers_that_a_resolver_takes_for_addresses_are_refused_as_targets_and_as_exclusions() {
    let program = Program::new();
    for number in
        ["0x7f000001", "0X0A4D0002", "0x0a4d0002.", "10.77.0.0x2", "0x7f.0x1", "10.77.0.2.", "127.1", "0177.1"]
    {
        let done = listed(&program, number);
        assert!(done.code == 2 && done.stderr.contains("target 1:1:1: "), "{number}: {}", done.stderr);
        let done = listed(&program, &format!("10.77.0.2 --exclude {number}"));
        assert!(done.code == 2 && done.stderr.contains("--exclude:1:1: "), "{number}: {}", done.stderr);
    }
    assert_eq!(listed(&program, "0xdead.example.org").stdout, "0xdead.example.org\n");
}

#[test]
fn masscans_lists_and_the_ranges_of_its_configuration_are_read() {
    let program = Program::new();
    let never = bytes(
        &program,
        "exclude.conf",
        b"# mail\n10.77.0.2-10.77.0.3,10.77.0.5\n10.77.0.7\x9610.77.0.8\nexclude = fd77::/124\n",
    );
    let done = listed(&program, &format!("10.77.0.1-9 fd77::f-fd77::10 --exclude-file {never}"));
    assert_eq!(done.stdout, "10.77.0.1\n10.77.0.4\n10.77.0.6\n10.77.0.9\nfd77::10\n", "{}", done.stderr);
    let targets = program.file("masscan.conf", "range = 10.77.0.1-10.77.0.3,10.77.1.1\nexclude = 10.77.0.2\n");
    assert_eq!(listed(&program, &format!("--file {targets}")).stdout, "10.77.0.1\n10.77.0.3\n10.77.1.1\n");
}

const NMAP: &str = "<?xml version=\"1.0\"?>\n<!DOCTYPE nmaprun>\n<nmaprun scanner=\"nmap\">\n\
    <host><status state=\"up\"/><address addr=\"10.77.0.2\" addrtype=\"ipv4\"/>\
    <ports><port protocol=\"tcp\" portid=\"8080\"><state state=\"open\"/></port></ports></host>\n\
    <host><status state=\"down\"/><address addr=\"10.77.0.3\" addrtype=\"ipv4\"/></host>\n</nmaprun>\n";
const GREPABLE: &str = "# Nmap\nHost: 10.77.0.4 ()\tStatus: Up\nHost: 10.77.0.4 ()\tPorts: 22/open/tcp//ssh///\n";

#[test]
fn the_hosts_that_nmap_found_up_are_targets() {
    let program = Program::new();
    let (xml, grepable) = (program.file("scan.xml", NMAP), program.file("scan.gnmap", GREPABLE));
    let done = listed(&program, &format!("10.77.0.9 --from {xml} --from {grepable} --exclude 10.77.0.9"));
    assert_eq!((done.code, done.stdout.as_str()), (0, "10.77.0.2\n10.77.0.4\n"), "{}", done.stderr);
    let mut child = program.command("scan --from - --list-targets").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&utf16(NMAP, u16::to_le_bytes)).unwrap();
    assert_eq!(ended(child).stdout, "10.77.0.2\n");

    let api = Api::with_job("completed", 0);
    let submitted = |line: &str| {
        let done = program.run(&format!("scan {line} --detach --api {}", api.endpoint));
        assert_eq!(done.code, 0, "{}", done.stderr);
        api.scans.lock().unwrap().pop().unwrap()
    };
    let request = submitted(&format!("--from {xml} --from {grepable}"));
    assert_eq!(
        (request.ports.as_deref(), request.target_text.as_deref()),
        (Some("22,8080"), Some("10.77.0.2\n10.77.0.4\n"))
    );
    assert_eq!(submitted(&format!("--from {xml} --ports 80")).ports.as_deref(), Some("80"));
}

#[test]
fn a_file_that_nmap_did_not_write_whole_is_refused_with_its_place() {
    let program = Program::new();
    for (name, content, code, expected) in [
        ("cut.xml", NMAP.trim_end_matches("</nmaprun>\n"), 2, "cut.xml:6:1: the file ends before </nmaprun>"),
        ("bomb.xml", "<!DOCTYPE nmaprun [<!ENTITY a \"b\">]><nmaprun/>", 2, "bomb.xml:1:1: a document type"),
        ("text.nmap", "# Nmap\nNmap scan report for 10.77.0.2\n", 2, "text.nmap:2:1: this is neither"),
        ("cut.gnmap", "Host: 10.77.0.4 ()\tStatus: Up\nHost: 10.77.0.1", 2, "cut.gnmap:2:1: the line tells neither"),
        ("down.gnmap", "Host: 10.77.0.4 ()\tStatus: Down\n", 2, "no host was up"),
    ] {
        let path = program.file(name, content);
        let done = listed(&program, &format!("--from {path}"));
        assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{name}: {}", done.stderr);
        assert!(done.stderr.contains(expected), "{name}: {}", done.stderr);
    }
    assert_eq!(listed(&program, "--from /nonexistent/scan.xml").code, 1);
}

#[test]
fn ports_to_leave_out_travel_with_the_request_and_a_slip_in_them_is_shown() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let done = program.run(&format!("scan 10.0.0.1 --exclude-ports 9100,U:161 --detach --api {}", api.endpoint));
    let sent = api.scans.lock().unwrap().pop().unwrap();
    assert_eq!((done.code, sent.exclude_ports.as_deref()), (0, Some("9100,U:161")), "{}", done.stderr);
    let done = program.run(&format!("scan 10.0.0.1 --exclude-ports 22,x --api {}", api.endpoint));
    assert!(done.code == 2 && done.stderr.contains("--exclude-ports:4: \"x\""), "{}", done.stderr);
    // The node in the process refuses what would leave nothing.
    let done = program.run("scan 127.0.0.1 --local --ports 22 --exclude-ports 1-100");
    assert!(done.code == 2 && done.stderr.contains("--exclude-ports leaves no port to ask"), "{}", done.stderr);
}
