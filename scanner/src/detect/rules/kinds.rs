//! Which texts of an answer recog has fingerprints for, by the service that the answer is of.

use super::dissect::{Dissector, line_value};

/// Texts of an answer, each with recog's name for its kind; the more telling ones first.
pub(crate) fn texts(service: &str, bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut found = Vec::new();
    let mut put = |kind: &'static str, text: Option<&[u8]>| {
        let text = text.unwrap_or_default().trim_ascii();
        if !text.is_empty() {
            found.push((kind, text.to_vec()));
        }
    };
    match service {
        "ssh" => put("ssh.banner", ssh_software(bytes)),
        "ftp" => put("ftp.banner", after_code(bytes)),
        "smtp" => put("smtp.banner", after_code(bytes)),
        "nntp" => put("nntp.banner", after_code(bytes)),
        "pop3" => put("pop3.banner", first_line(bytes).strip_prefix(b"+OK")),
        "imap" => put("imap4.banner", first_line(bytes).strip_prefix(b"* OK")),
        "telnet" => put("telnet.banner", dissected("telnet", bytes, &["text"]).first().map(Vec::as_slice)),
        "http" => {
            let names = ["server", "x-powered-by", "set-cookie", "www-authenticate", "title"];
            let kinds = [
                "http_header.server",
                "http_header.x-powered-by",
                "http_header.cookie",
                "http_header.wwwauth",
                "html_title",
            ];
            for (kind, text) in kinds.into_iter().zip(dissected("http", bytes, &names)) {
                put(kind, Some(&text));
            }
        }
        "sip" => {
            let texts = dissected_head(bytes, &["user-agent", "server"]);
            for (kind, text) in ["sip_header.user_agent", "sip_header.server"].into_iter().zip(texts) {
                put(kind, Some(&text));
            }
        }
        "rtsp" => put("rtsp_header.server", dissected_head(bytes, &["server"]).first().map(Vec::as_slice)),
        "mysql" => put("mysql.banners", dissected("mysql", bytes, &["version"]).first().map(Vec::as_slice)),
        "dns" => {
            let text = dissected("dns", bytes, &["txt"]).pop().filter(|text| !text.is_empty());
            let text = text.or_else(|| dissected("dns-tcp", bytes, &["txt"]).pop());
            put("dns.versionbind", text.as_deref());
        }
        "snmp" => {
            let texts = dissected("snmp", bytes, &["1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"]);
            for (kind, text) in ["snmp.sys_description", "snmp.sys_object_id"].into_iter().zip(texts) {
                put(kind, Some(&text));
            }
        }
        "smb" => {
            let texts = dissected("smb", bytes, &["lanman", "os"]);
            for (kind, text) in ["smb.native_lm", "smb.native_os"].into_iter().zip(texts) {
                put(kind, Some(&text));
            }
        }
        "ldap" => put("ldap.search_result", Some(bytes)),
        "x11" => put("x11.vendor", dissected("x11", bytes, &["vendor"]).first().map(Vec::as_slice)),
        _ => {}
    }
    found
}

fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end()
}

/// RFC 4253 section 4.2: what comes after `SSH-2.0-`.
fn ssh_software(bytes: &[u8]) -> Option<&[u8]> {
    let mut lines = bytes.split(|b| *b == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"SSH-"))?;
    let hyphen = line.iter().position(|b| *b == b'-')?;
    line.get(hyphen + 1..)
}

/// A greeting of FTP and its kin, without the code that begins it.
fn after_code(bytes: &[u8]) -> Option<&[u8]> {
    let (code, rest) = first_line(bytes).split_at_checked(4)?;
    code.get(..3)?.iter().all(u8::is_ascii_digit).then_some(rest)
}

fn dissected(dissector: &str, bytes: &[u8], names: &[&str]) -> Vec<Vec<u8>> {
    let text = Dissector::named(dissector).and_then(|dissector| dissector.dissect(bytes)).unwrap_or_default();
    names.iter().map(|name| line_value(&text, name).unwrap_or_default().to_vec()).collect()
}

/// Header lines of SIP and RTSP, which are written like those of HTTP.
fn dissected_head(bytes: &[u8], names: &[&str]) -> Vec<Vec<u8>> {
    let lines = || bytes.split(|b| *b == b'\n').skip(1).map(<[u8]>::trim_ascii);
    let value = |name: &&str| {
        lines().find_map(|line| {
            let (head, value) = line.split_at_checked(name.len())?;
            head.eq_ignore_ascii_case(name.as_bytes()).then_some(value.strip_prefix(b":")?)
        })
    };
    names.iter().map(|name| value(name).unwrap_or_default().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_part_of_an_answer_is_cut_out() {
        let one = |service, bytes: &[u8]| texts(service, bytes).remove(0);
        assert_eq!(one("ssh", b"motd\nSSH-2.0-OpenSSH_9.2p1 x\r\n\0\0"), ("ssh.banner", b"OpenSSH_9.2p1 x".to_vec()));
        assert_eq!(one("ftp", b"220 (vsFTPd 3.0.3)\r\n"), ("ftp.banner", b"(vsFTPd 3.0.3)".to_vec()));
        assert_eq!(one("imap", b"* OK ready\r\n"), ("imap4.banner", b"ready".to_vec()));
        assert_eq!(one("sip", b"SIP/2.0 200 OK\r\nuser-agent: A\r\n\r\n"), ("sip_header.user_agent", b"A".to_vec()));
        let page = texts("http", b"HTTP/1.0 200 OK\r\nServer: s\r\nSet-Cookie: c=1\r\n\r\n<title>t</title>");
        assert_eq!(
            page.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
            ["http_header.server", "http_header.cookie", "html_title"]
        );
        assert_eq!(texts("nothing", b"x"), []);
        assert_eq!(texts("ftp", b"22"), []);
    }
}
