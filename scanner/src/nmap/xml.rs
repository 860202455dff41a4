//! nmap's XML: of each `host` its `status`, its addresses and the ports whose `state` is open. All else is passed over.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::IpAddr;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::source::Source;
use super::{Hosts, NmapError, address_of};
use crate::port::{Port, Protocol};

/// Deepest nesting that is followed: tables in the results of scripts are the deepest there is.
const DEPTH_MAX: usize = 64;
/// Most addresses of one host; nmap writes one of IP and one of the link.
const ADDRESSES_MAX: usize = 16;

/// Where in the document an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Run,
    Host,
    Ports,
    Port,
    Other,
}

/// The host that is being read.
#[derive(Debug, Default)]
struct Open {
    /// `None` where nothing is said of it, as masscan does.
    is_up: Option<bool>,
    addresses: Vec<IpAddr>,
    open: BTreeSet<Port>,
    port: Option<Port>,
}

/// Reads the document to its end.
pub(super) fn read<R: BufRead>(source: Source<R>, origin: &str, hosts: &mut Hosts) -> Result<(), NmapError> {
    let mut reader = Reader::from_reader(source);
    let (mut path, mut host, mut buffer) = (Vec::new(), Open::default(), Vec::new());
    let mut is_whole = false;
    loop {
        buffer.clear();
        reader.get_mut().begin();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(quick_xml::Error::Io(error)) => {
                let error = std::io::Error::new(error.kind(), error.to_string());
                return Err(reader.get_ref().failed(error, origin));
            }
            Err(error) => return Err(refused(&reader, origin, &error.to_string())),
        };
        let result = match event {
            Event::Start(_) | Event::Empty(_) if is_whole => Err("a second document in the file".to_owned()),
            Event::Start(element) => begin(&element, &path, &mut host).map(|within| path.push(within)),
            Event::Empty(element) => match begin(&element, &path, &mut host) {
                Ok(within) => {
                    is_whole = within == Within::Run;
                    end(within, &mut host, hosts)?
                }
                Err(problem) => Err(problem),
            },
            Event::End(_) => {
                let within = path.pop().unwrap_or(Within::Other);
                is_whole = within == Within::Run;
                end(within, &mut host, hosts)?
            }
            // What it could define is a bomb at worst, and nmap defines nothing.
            Event::DocType(text) if text.contains('[') => {
                Err("a document type with definitions is not read".to_owned())
            }
            Event::Eof if is_whole => return Ok(()),
            Event::Eof => Err("the file ends before </nmaprun>: it was cut, or nmap was stopped".to_owned()),
            _ => Ok(()),
        };
        result.map_err(|problem| refused(&reader, origin, &problem))?;
    }
}

fn refused<R: BufRead>(reader: &Reader<Source<R>>, origin: &str, problem: &str) -> NmapError {
    NmapError::malformed(origin, reader.get_ref().begun(), problem)
}

/// An element begins inside the elements of `path`.
fn begin(element: &BytesStart<'_>, path: &[Within], host: &mut Open) -> Result<Within, String> {
    if path.len() >= DEPTH_MAX {
        return Err(format!("more than {DEPTH_MAX} elements inside each other"));
    }
    match (path, element.name().as_ref()) {
        ([], "nmaprun") => return Ok(Within::Run),
        ([], name) => return Err(format!("the document is <{}>, not nmap's <nmaprun>", name)),
        ([.., Within::Run], "host") => {
            *host = Open::default();
            return Ok(Within::Host);
        }
        ([.., Within::Host], "ports") => return Ok(Within::Ports),
        ([.., Within::Host], "status") => host.is_up = Some(required(element, "state")? == "up"),
        ([.., Within::Host], "address") => address(element, host)?,
        ([.., Within::Ports], "port") => {
            host.port = port(element)?;
            return Ok(Within::Port);
        }
        ([.., Within::Port], "state") if required(element, "state")? == "open" => host.open.extend(host.port),
        _ => {}
    }
    Ok(Within::Other)
}

/// An element ends, and the host with it where it is one. The inner error is the document's, the outer one of the set of
/// targets.
fn end(within: Within, host: &mut Open, hosts: &mut Hosts) -> Result<Result<(), String>, NmapError> {
    if within != Within::Host {
        return Ok(Ok(()));
    }
    let Open { is_up, addresses, open, .. } = std::mem::take(host);
    if !is_up.unwrap_or(!open.is_empty()) {
        return Ok(Ok(()));
    }
    if addresses.is_empty() {
        return Ok(Err("a host that is up and has no address ends here".to_owned()));
    }
    hosts.add(&addresses, open)?;
    Ok(Ok(()))
}

fn address(element: &BytesStart<'_>, host: &mut Open) -> Result<(), String> {
    // The DTD's default.
    let kind = attribute(element, "addrtype")?.unwrap_or_else(|| "ipv4".to_owned());
    if kind != "ipv4" && kind != "ipv6" {
        return Ok(());
    }
    let text = required(element, "addr")?;
    let address = address_of(&text).ok_or_else(|| format!("{text:?} is not an address"))?;
    if host.addresses.len() >= ADDRESSES_MAX {
        return Err(format!("a host with more than {ADDRESSES_MAX} addresses"));
    }
    host.addresses.push(address);
    Ok(())
}

/// The port of an element, if it is of a protocol that is scanned here.
fn port(element: &BytesStart<'_>) -> Result<Option<Port>, String> {
    let protocol = match required(element, "protocol")?.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Ok(None),
    };
    let text = required(element, "portid")?;
    match text.parse() {
        Ok(number) if number > 0 => Ok(Some(Port { protocol, number })),
        _ => Err(format!("{text:?} is not a port")),
    }
}

fn required(element: &BytesStart<'_>, name: &str) -> Result<String, String> {
    attribute(element, name)?.ok_or_else(|| format!("<{}> without {name}", element.name().as_ref()))
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if attribute.key.as_ref() == name {
            // The five entities of XML and numbers; what a document defines itself is an error.
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}
