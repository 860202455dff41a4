//! The `script` elements of hosts and ports: names that services told; what banner, HTTP, TLS and weaknesses told, for which nmap has no element.
//!
//! One element per port, with a table per kind of fact. NSE would have one per script, but ndiff 7.9x on Python 3 ends
//! with an error at the second one of a port (it sorts objects that have no order), in nmap's own files too. Tables for
//! TLS and HTTP have the names of the NSE scripts that report the same, and their keys.

use std::io;

use super::super::time::{day, second};
use super::escaped::Escaped;
use crate::finding::{Certificate, HostName, Http, NameSource, PortRecord, PortState, Tls, Weakness};

/// Writes what there is to say of an open port.
pub(super) fn write<W: io::Write>(out: &mut W, port: &PortRecord) -> io::Result<()> {
    let service = port.service.as_deref();
    let facts = Facts {
        banner: port.banner.as_deref(),
        http: service.and_then(|service| service.http.as_deref()),
        tls: service.and_then(|service| service.tls.as_deref()),
        weaknesses: &port.weaknesses,
    };
    let lines = facts.lines();
    if port.state != PortState::Open || lines.is_empty() {
        return Ok(());
    }
    write!(out, r#"<script id="pentora" output=""#)?;
    // As NSE has it: each line on its own, so that whoever prints the output prints a block.
    lines.iter().try_for_each(|line| write!(out, "&#10;  {}", Escaped(line)))?;
    write!(out, r#"">"#)?;
    facts.write(out)?;
    write!(out, "</script>")
}

/// Writes the names of a host that its services told, for which nmap's `hostname` has no type.
pub(super) fn host<W: io::Write>(out: &mut W, names: &[HostName]) -> io::Result<()> {
    let told = || names.iter().filter(|one| !matches!(one.source, NameSource::User | NameSource::ReverseDns));
    if told().next().is_none() {
        return Ok(());
    }
    write!(out, r#"<hostscript><script id="pentora-names" output=""#)?;
    told().try_for_each(|one| write!(out, "&#10;  {}: {}", one.source.as_str(), Escaped(&one.name)))?;
    write!(out, r#"">"#)?;
    told().try_for_each(|one| write!(out, r#"<elem key="{}">{}</elem>"#, one.source.as_str(), Escaped(&one.name)))?;
    writeln!(out, "</script></hostscript>")
}

struct Facts<'a> {
    banner: Option<&'a str>,
    http: Option<&'a Http>,
    tls: Option<&'a Tls>,
    weaknesses: &'a [Weakness],
}

impl Facts<'_> {
    /// For people.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.banner.iter().map(|banner| format!("banner: {banner}")).collect();
        if let Some(http) = self.http {
            lines.extend(http.title.iter().map(|title| format!("title: {title}")));
            lines.extend(http.server.iter().map(|server| format!("server: {server}")));
        }
        if let Some(tls) = self.tls {
            lines.push(format!("tls: {}", tls.versions.join(" ")));
            let own = tls.chain.first();
            lines.extend(own.map(|own| match own.not_after_s {
                Some(end) => format!("certificate: {}, until {}", own.subject, day(end)),
                None => format!("certificate: {}", own.subject),
            }));
        }
        lines.extend(self.weaknesses.iter().map(|weakness| {
            let potential = if weakness.is_potential() { "potential " } else { "" };
            format!("{potential}weakness: {} ({}) {}", weakness.id, weakness.severity, weakness.title)
        }));
        lines
    }

    /// For programs.
    fn write<W: io::Write>(&self, out: &mut W) -> io::Result<()> {
        if let Some(banner) = self.banner {
            write!(out, r#"<elem key="banner">{}</elem>"#, Escaped(banner))?;
        }
        if let Some(title) = self.http.and_then(|http| http.title.as_deref()) {
            write!(out, r#"<table key="http-title"><elem key="title">{}</elem></table>"#, Escaped(title))?;
        }
        if let Some(server) = self.http.and_then(|http| http.server.as_deref()) {
            write!(out, r#"<table key="http-server-header"><elem>{}</elem></table>"#, Escaped(server))?;
        }
        if let Some(tls) = self.tls {
            tls.chain.first().map_or(Ok(()), |own| certificate(out, own))?;
            tls_facts(out, tls)?;
        }
        if self.weaknesses.is_empty() { Ok(()) } else { weaknesses(out, self.weaknesses) }
    }
}

fn certificate<W: io::Write>(out: &mut W, of: &Certificate) -> io::Result<()> {
    let (subject, issuer) = (Escaped(&of.subject), Escaped(&of.issuer));
    write!(out, r#"<table key="ssl-cert"><elem key="subject">{subject}</elem><elem key="issuer">{issuer}</elem>"#)?;
    write!(
        out,
        r#"<elem key="key">{}</elem><elem key="sig_algo">{}</elem>"#,
        Escaped(&of.key),
        Escaped(&of.signature)
    )?;
    write!(out, r#"<table key="validity">"#)?;
    for (key, moment) in [("notBefore", of.not_before_s), ("notAfter", of.not_after_s)] {
        moment.map_or(Ok(()), |moment| write!(out, r#"<elem key="{key}">{}</elem>"#, second(moment)))?;
    }
    write!(out, "</table>")?;
    write!(
        out,
        r#"<elem key="serial">{}</elem><elem key="sha256">{}</elem>"#,
        Escaped(&of.serial),
        Escaped(&of.sha256)
    )?;
    list(out, "names", &of.names)?;
    write!(out, "</table>")
}

fn tls_facts<W: io::Write>(out: &mut W, tls: &Tls) -> io::Result<()> {
    write!(out, r#"<table key="tls">"#)?;
    list(out, "versions", &tls.versions)?;
    for (key, word) in [("cipher", &tls.cipher), ("alpn", &tls.alpn), ("starttls", &tls.starttls)] {
        if let Some(word) = word {
            write!(out, r#"<elem key="{key}">{}</elem>"#, Escaped(word))?;
        }
    }
    list(out, "problems", &tls.problems)?;
    write!(out, "</table>")
}

fn list<W: io::Write>(out: &mut W, key: &str, words: &[String]) -> io::Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    write!(out, r#"<table key="{key}">"#)?;
    words.iter().try_for_each(|word| write!(out, "<elem>{}</elem>", Escaped(word)))?;
    write!(out, "</table>")
}

fn weaknesses<W: io::Write>(out: &mut W, weaknesses: &[Weakness]) -> io::Result<()> {
    write!(out, r#"<table key="weaknesses">"#)?;
    for weakness in weaknesses {
        write!(out, r#"<table key="{}">"#, Escaped(&weakness.id))?;
        write!(out, r#"<elem key="title">{}</elem>"#, Escaped(&weakness.title))?;
        write!(out, r#"<elem key="severity">{}</elem>"#, weakness.severity)?;
        write!(out, r#"<elem key="confidence">{}</elem>"#, weakness.confidence)?;
        write!(out, r#"<elem key="method">{}</elem>"#, Escaped(&weakness.method))?;
        write!(out, r#"<elem key="evidence">{}</elem>"#, Escaped(&weakness.evidence))?;
        write!(out, r#"<elem key="remedy">{}</elem>"#, Escaped(&weakness.remedy))?;
        list(out, "references", &weakness.references)?;
        write!(out, "</table>")?;
    }
    write!(out, "</table>")
}
