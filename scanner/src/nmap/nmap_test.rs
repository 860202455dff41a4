//! nmap's files: hosts that were up with their open ports, in any pieces, and nothing of a file that was cut or made up.

use std::io::Read;

use proptest::prelude::*;

use super::source::PIECE_BYTES_MAX;
use super::*;

const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun>
<?xml-stylesheet href="file:///usr/share/nmap/nmap.xsl" type="text/xsl"?>
<!-- Nmap 7.93 scan initiated -->
<nmaprun scanner="nmap" args="nmap -oX - 10.0.0.0/29" version="7.93" xmloutputversion="1.05">
<scaninfo type="syn" protocol="tcp" numservices="1000" services="1-1000"/>
<hosthint><status state="up" reason="arp-response"/><address addr="10.0.0.9" addrtype="ipv4"/></hosthint>
<host starttime="1" endtime="2"><status state="up" reason="arp-response" reason_ttl="0"/>
<address addr="10.0.0.2" addrtype="ipv4"/><address addr="0A:00:00:00:00:02" addrtype="mac" vendor="&quot;A&amp;B&quot;"/>
<hostnames><hostname name="web.lab" type="PTR"/></hostnames>
<ports><extraports state="closed" count="997"><extrareasons reason="reset" count="997"/></extraports>
<port protocol="tcp" portid="22"><state state="open" reason="syn-ack"/><service name="ssh"/>
<script id="x" output="state &#xa; text"><table><elem key="state">open</elem></table></script></port>
<port protocol="tcp" portid="25"><state state="filtered" reason="no-response"/></port>
<port protocol="udp" portid="53"><state state="open" reason="udp-response"/></port>
<port protocol="udp" portid="67"><state state="open|filtered" reason="no-response"/></port>
<port protocol="sctp" portid="80"><state state="open" reason="init-ack"/></port></ports>
<times srtt="1" rttvar="1" to="100000"/></host>
<host><status state="down" reason="no-response"/><address addr="10.0.0.3" addrtype="ipv4"/></host>
<host><status state="up" reason="echo-reply"/><address addr="fd77::2" addrtype="ipv6"/></host>
<runstats><finished time="3"/><hosts up="2" down="1" total="3"/></runstats>
</nmaprun>
"#;

const GREPABLE: &str = "# Nmap 7.93 scan initiated Sat Nov 28 as: nmap -oG - 10.0.0.0/29\n\
    Host: 10.0.0.2 (web.lab)\tStatus: Up\n\
    Host: 10.0.0.2 (web.lab)\tPorts: 22/open/tcp//ssh//OpenSSH 9.2p1, 80|open|tcp 3/, 25/filtered/tcp//smtp///, \
    53/open/udp//domain///, 67/open|filtered/udp//dhcps///, 80/open/sctp//x///\tIgnored State: closed (997)\n\
    Host: 10.0.0.3 ()\tStatus: Down\n\
    Host: fd77::2 ()\tStatus: Up\r\n\
    # Nmap done at Sat Nov 28 -- 8 IP addresses (2 hosts up) scanned in 1.00 seconds\n";

/// Gives a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(buffer.get_mut(..most).unwrap_or_default())
    }
}

fn found(text: &str) -> (String, String) {
    let hosts = read_nmap(text.as_bytes(), "scan").unwrap();
    (hosts.targets.to_string(), hosts.ports.to_string())
}

fn refused(bytes: &[u8]) -> String {
    read_nmap(bytes, "scan").unwrap_err().to_string()
}

#[test]
fn both_forms_give_the_hosts_that_were_up_and_the_ports_that_were_open() {
    for text in [XML, GREPABLE] {
        assert_eq!(found(text), ("10.0.0.2,fd77::2".to_owned(), "T:22,U:53".to_owned()));
        let windows: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(read_nmap(windows.as_slice(), "scan").unwrap(), read_nmap(text.as_bytes(), "scan").unwrap());
    }
    assert_eq!(found(&format!("\u{feff}\r\n {XML}")), found(XML));
}

#[test]
fn masscan_says_of_no_host_that_it_is_up_and_only_names_those_that_are() {
    let xml = r#"<?xml version="1.0"?><nmaprun scanner="masscan"><host endtime="1"><address addr="10.0.0.2" addrtype="ipv4"/>
        <ports><port protocol="tcp" portid="80"><state state="open" reason="syn-ack" reason_ttl="64"/></port></ports></host>
        <host endtime="1"><address addr="10.0.0.3" addrtype="ipv4"/>
        <ports><port protocol="tcp" portid="81"><state state="closed"/></port></ports></host></nmaprun>"#;
    assert_eq!(found(xml), ("10.0.0.2".to_owned(), "80".to_owned()));
    let line = "# Masscan 1.3.2 scan initiated\nTimestamp: 1\tHost: 10.0.0.2 ()\tPorts: 80/open/tcp//http//\n";
    assert_eq!(found(line), ("10.0.0.2".to_owned(), "80".to_owned()));
}

#[test]
fn a_file_without_a_host_that_was_up_gives_none() {
    assert_eq!(found("# Nmap done\nHost: 10.0.0.1 ()\tStatus: Unknown\n"), (String::new(), String::new()));
    assert_eq!(found("<nmaprun/>"), (String::new(), String::new()));
}

/// What scanned nothing without a word.
#[test]
fn an_empty_file_is_none_of_nmaps() {
    for empty in [&b""[..], b" \r\n\n", b"\xef\xbb\xbf"] {
        assert_eq!(refused(empty), "scan:1:1: the file is empty", "{empty:?}");
    }
}

#[test]
fn lines_may_end_as_they_did_on_any_machine() {
    for end in ["\r", "\r\n"] {
        assert_eq!(found(&GREPABLE.replace("\r\n", "\n").replace('\n', end)), found(GREPABLE), "{end:?}");
    }
    let said = refused(b"# Nmap\rHost: 10.0.0.1 ()\tStatus: Up\r\n# x\rHost: 10.0.0.300 ()\tStatus: Up\r");
    assert!(said.starts_with("scan:4:7: \"10.0.0.300\" is not an address"), "{said}");
}

#[test]
fn a_host_of_which_only_an_address_of_its_link_is_known_is_no_target_and_told() {
    let xml = "<nmaprun><host><status state='up'/><address addr='fe80::1' addrtype='ipv6'/><ports>\
        <port protocol='tcp' portid='99'><state state='open'/></port></ports></host>\
        <host><status state='up'/><address addr='fe80::3' addrtype='ipv6'/><address addr='10.0.0.3' addrtype='ipv4'/>\
        </host></nmaprun>";
    let grepable = "Host: fe80::1%eth0 ()\tPorts: 99/open/tcp//x///\nHost: 10.0.0.3 ()\tStatus: Up\n";
    for (text, first) in [(xml, "fe80::1"), (grepable, "fe80::1")] {
        let hosts = read_nmap(text.as_bytes(), "scan").unwrap();
        assert_eq!((hosts.targets.to_string().as_str(), hosts.ports.count()), ("10.0.0.3", 0));
        assert_eq!((hosts.without_link, hosts.first_without_link), (1, Some(first.parse().unwrap())));
    }
    assert!(refused(b"Host: 10.0.0.1%eth0 ()\tStatus: Up\n").starts_with("scan:1:7: "));
}

#[test]
fn what_nmap_does_not_write_is_refused_with_its_place() {
    for (text, expected) in [
        ("Host: 10.0.0.1 ()\tPorts: 22/open/tcp//ssh///, 80/op\n", "scan:1:47: an entry of a port that has no end"),
        ("Host: 10.0.0.1 ()\tPorts: 22/open/tcp//ssh///, \n", "scan:1:45: \",\" is no entry of a port"),
        ("Host: 10.0.0.1 ()\tPorts: 22/open/tcp//ssh//", "scan:1:26: an entry of a port that has no end"),
        ("Host: 10.0.0.1 ()\tPorts: 22/open/tcp//ssh///", "scan:1:19: the line ends with the file"),
        ("Host: 10.0.0.1 ()\tPorts: x/open/tcp//ssh///\n", "scan:1:26: \"x\" is not a port"),
        ("Host: 10.0.0.1 ()\tStatus: Up\nHost: 10.0.0.12", "scan:2:1: the line tells neither status nor ports"),
        ("Host: 10.0.0.300 ()\tStatus: Up\n", "scan:1:7: \"10.0.0.300\" is not an address"),
        ("Host: 10.0.0.1 ()\tStatus: U\n", "scan:1:19: \"U\" is no status"),
        ("# Nmap 7.93\nNmap scan report for 10.0.0.1\n", "scan:2:1: this is neither nmap's XML"),
        ("10.0.0.1\n", "scan:1:1: this is neither"),
        ("<html>", "scan:1:1: the document is <html>"),
        ("<nmaprun>\n<host><status state='up'/>\n</host></nmaprun>", "scan:3:1: a host that is up and has no address"),
        ("<nmaprun>\n é<host><address addr='10.1' addrtype='ipv4'/>", "scan:2:9: \"10.1\" is not an address"),
        ("<nmaprun><host><status/>", "scan:1:16: <status> without state"),
        ("<nmaprun><host><ports><port protocol='tcp' portid='0'>", "scan:1:23: \"0\" is not a port"),
        ("<nmaprun>\n<host>", "scan:2:7: the file ends before </nmaprun>"),
        ("<nmaprun>\n<host></nmaprun>", "scan:2:7: "),
        ("<nmaprun></nmaprun>\n<nmaprun>", "scan:2:1: a second document"),
        ("<nmaprun><host a='1", "scan:1:10: "),
    ] {
        let said = refused(text.as_bytes());
        assert!(said.starts_with(expected), "{text:?}: {said}");
    }
    assert!(refused(b"<nmaprun><host>\xff</host></nmaprun>").starts_with("scan:1:16: "));
    assert!(refused(b"\xff\xfe<").starts_with("scan:1:1: this is UTF-16 and damaged"));
    // Found by fuzzing: an error of the XML reader quotes the file.
    for bad in ["</x\u{1b}[2J\n>", &format!("</{}>", "x".repeat(5000)), "<status stat\u{1b}='up'/>"] {
        let said = refused(format!("<nmaprun><host>{bad}").as_bytes());
        assert!(said.len() < 1000 && said.chars().all(|c| matches!(c, ' '..='~')), "{said:?}");
    }
}

#[test]
fn a_document_that_would_take_more_than_it_is_long_is_refused() {
    let bomb = r#"<!DOCTYPE nmaprun [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><nmaprun/>"#;
    assert!(refused(bomb.as_bytes()).starts_with("scan:1:1: a document type with definitions"));
    let entity = "<nmaprun><host><address addr='&b;' addrtype='ipv4'/></host></nmaprun>";
    assert!(refused(entity.as_bytes()).starts_with("scan:1:16: "), "an entity that nobody defined");
    let deep = format!("<nmaprun>{}", "<a>".repeat(1000));
    assert!(refused(deep.as_bytes()).contains("more than 64 elements inside each other"));
    let long = format!("<nmaprun>\n<host a='{}", "x".repeat(PIECE_BYTES_MAX + 1));
    assert_eq!(refused(long.as_bytes()), "scan:2:1: an element or line that begins here has more than 8 MiB");
    let long = format!("# x\nHost: 10.0.0.1 {}", "x".repeat(PIECE_BYTES_MAX + 1));
    assert_eq!(refused(long.as_bytes()), "scan:2:1: an element or line that begins here has more than 8 MiB");
    let many = "<address addr='10.0.0.1' addrtype='ipv4'/>".repeat(17);
    assert!(refused(format!("<nmaprun><host>{many}").as_bytes()).contains("more than 16 addresses"));
}

proptest! {
    #[test]
    fn however_it_arrives_it_says_the_same(step in 1_usize..40, cut in any::<prop::sample::Index>(), which in 0..2) {
        let text = if which == 0 { XML } else { GREPABLE };
        prop_assert_eq!(read_nmap(Trickle(text.as_bytes(), step), "scan").unwrap(), read_nmap(text.as_bytes(), "scan").unwrap());
        let part = text.as_bytes().get(..cut.index(text.len())).unwrap();
        let (whole, slow) = (read_nmap(part, "scan"), read_nmap(Trickle(part, step), "scan"));
        prop_assert_eq!(whole.map_err(|error| error.to_string()), slow.map_err(|error| error.to_string()));
    }

    #[test]
    fn a_cut_file_is_refused_or_gives_only_hosts_of_the_whole(cut in any::<prop::sample::Index>(), which in 0..2) {
        let text = if which == 0 { XML } else { GREPABLE };
        if let Ok(part) = read_nmap(text.as_bytes().get(..cut.index(text.len())).unwrap(), "scan") {
            let whole = read_nmap(text.as_bytes(), "scan").unwrap();
            prop_assert!(part.targets.exclude(&whole.targets).is_empty(), "{:?}", part.targets);
            prop_assert!(part.ports.exclude(&whole.ports).is_empty(), "{:?}", part.ports);
        }
    }

    #[test]
    fn every_host_and_port_of_a_list_is_read(hosts in proptest::collection::btree_map(any::<u32>(), 1_u16.., 1..20)) {
        let line = |(address, port): (&u32, &u16)| {
            format!("Host: {} ()\tPorts: {port}/open/tcp//x///\n", std::net::Ipv4Addr::from_bits(*address))
        };
        let text: String = hosts.iter().map(line).collect();
        let read = read_nmap(text.as_bytes(), "scan").unwrap();
        prop_assert_eq!(read.targets.count(), hosts.len() as u64);
        prop_assert_eq!(read.ports, hosts.values().map(|port| Port::tcp(*port)).collect::<PortSet>());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "[<>/a-z=' !\\[\\]&;-]{0,60}") {
        let _ = read_nmap(bytes.as_slice(), "any");
        let _ = read_nmap(format!("<nmaprun><host>{text}").as_bytes(), "any");
    }
}

#[test]
fn a_document_is_read_in_the_encoding_that_it_declares() {
    let of = |label: &str| XML.replace("UTF-8", label).replace("<nmaprun", "<!-- caf\u{e9} \u{20ac} -->\n<nmaprun");
    let expected = read_nmap(XML.as_bytes(), "scan.xml").unwrap();
    let one_byte = |text: &str| text.chars().map(|c| u8::try_from(c).unwrap_or(0x80)).collect::<Vec<u8>>();
    let units = |text: &str, to_bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let utf16 = of("UTF-16");
    for (name, bytes) in [
        ("latin1", one_byte(&of("ISO-8859-1"))),
        ("windows", one_byte(&of("windows-1252"))),
        ("gbk", encoding_rs::GBK.encode(&of("GBK")).0.into_owned()),
        ("utf8", of("UTF-8").into_bytes()),
        ("marked", format!("\u{feff}{}", of("ISO-8859-1")).into_bytes()),
        ("said to be utf-16", utf16.clone().into_bytes()),
        ("little", units(&utf16, u16::to_le_bytes)),
        ("big", units(&utf16, u16::to_be_bytes)),
        ("marked little", units(&format!("\u{feff}{utf16}"), u16::to_le_bytes)),
    ] {
        assert_eq!(
            read_nmap(bytes.as_slice(), "scan.xml").unwrap_or_else(|error| panic!("{name}: {error}")),
            expected,
            "{name}"
        );
    }
    let unknown = read_nmap(of("KLINGON").as_bytes(), "scan.xml").unwrap_err().to_string();
    assert!(unknown.starts_with("scan.xml:1:1: the encoding \"KLINGON\""), "{unknown}");
    let cut = one_byte(&of("ISO-8859-1"));
    let at = cut.windows(8).position(|window| window == b"<address").unwrap();
    let error = read_nmap(&cut[..at + 12], "scan.xml").unwrap_err().to_string();
    assert!(error.starts_with("scan.xml:"), "{error}");
}
