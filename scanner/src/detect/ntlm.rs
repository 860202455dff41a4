//! What a server tells of itself before a login with NTLM ([MS-NLMP] section 2.2.1.2): the names of host and domain, and the
//! build of Windows. It is asked for with the first message of a login, which names nobody, and the login is not gone on with.
//!
//! Over HTTP ([MS-NTHT] section 2.1, RFC 4559), SMTP ([MS-SMTPNTLM] section 3) and inside RDP's TLS ([MS-CSSP] section 2.2.1).
//! Over SMB the rules read it from the answer to their own probe.

use std::time::Duration;

use data_encoding::BASE64;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::connection::{self, Endpoint, Opened, Patience, Stream};
use super::rules::challenge;
use super::starttls::Upgrade;
use super::{http, lines};
use crate::authority;
use crate::finding::Service;
use crate::gate::Stage;

/// NEGOTIATE: what is asked for is a challenge in Unicode with the target's names and the version.
const NEGOTIATE: &[u8] = b"NTLMSSP\0\x01\0\0\0\x05\x82\x88\xa2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\x61\x4a\0\0\0\x0f";
/// Longest wait for each answer.
const STEP_WAIT: Duration = Duration::from_secs(3);
/// Longest answer that is read: a challenge has some hundred bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Asks a service for its names where it is one that may tell them, and adds what it tells.
pub(super) async fn annotate(endpoint: &Endpoint<'_>, connector: &TlsConnector, service: &mut Service) {
    let is_told =
        |service: &Service| service.facts.iter().any(|(name, _)| name == "ntlm-version" || name == "dns-name");
    if is_told(service) {
        return;
    }
    let message = match service.name.as_str() {
        "http" | "https" | "winrm" => over_http(endpoint, service).await,
        "smtp" if is_by(service, "Microsoft") => over_smtp(endpoint).await,
        "ms-wbt-server" => over_rdp(endpoint, connector).await,
        _ => None,
    };
    if let Some(message) = message {
        add(service, &message);
    }
}

/// Adds what a challenge tells.
fn add(service: &mut Service, message: &[u8]) {
    let told = challenge(message);
    let value = |wanted: &str| told.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    if service.hostname.is_none() {
        service.hostname = value("dns-name").or_else(|| value("netbios-name"));
    }
    // Samba has no build.
    let is_windows = value("ntlm-version").is_some_and(|version| !version.ends_with(".0"));
    if service.os.is_none() && is_windows {
        service.os = Some("Windows".to_owned());
    }
    let known: Vec<String> = service.facts.iter().map(|(name, _)| name.clone()).collect();
    service.facts.extend(told.into_iter().filter(|(name, _)| !known.contains(name)));
}

fn is_by(service: &Service, vendor: &str) -> bool {
    service.product.as_deref().is_some_and(|product| product.starts_with(vendor))
}

/// The page that wants a login, and the scheme that is offered for it.
fn wanted(service: &Service) -> Option<(&'static str, &'static str)> {
    if service.name == "winrm" {
        return Some(("/wsman", "Negotiate"));
    }
    if service.product.as_deref().is_some_and(|product| product.starts_with("Microsoft Exchange")) {
        return Some(("/autodiscover/", "NTLM"));
    }
    let http = service.http.as_deref().filter(|http| http.status == 401)?;
    let offers = |scheme: &str| {
        let offered = http.headers.iter().filter(|(name, _)| name == "www-authenticate");
        // Several may stand in one header.
        offered.into_iter().flat_map(|(_, value)| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(scheme))
    };
    ["NTLM", "Negotiate"].into_iter().find(|scheme| offers(scheme)).map(|scheme| ("/", scheme))
}

async fn over_http(endpoint: &Endpoint<'_>, service: &Service) -> Option<Vec<u8>> {
    let (path, scheme) = wanted(service)?;
    let host = authority::host_header(endpoint.name, endpoint.address, endpoint.tls.is_some());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (compatible; Pentora)\r\n\
         Authorization: {scheme} {}\r\nConnection: close\r\n\r\n",
        BASE64.encode(NEGOTIATE)
    );
    let mut connection = endpoint.connect(Stage::Http).await.ok()?;
    let answer = exchange(&mut connection.stream, request.as_bytes(), endpoint.deadline(), http::is_complete).await?;
    let head = http::read_head(&answer)?;
    let offered = head.headers.iter().filter(|(name, _)| name == "www-authenticate");
    let words = offered.into_iter().flat_map(|(_, value)| value.split(','));
    let tokens = words.filter_map(|word| Some(word.trim().split_once(' ')?.1.trim()));
    tokens.into_iter().find_map(|token| BASE64.decode(token.as_bytes()).ok().filter(|token| token.len() > 32))
}

async fn over_smtp(endpoint: &Endpoint<'_>) -> Option<Vec<u8>> {
    let mut connection = endpoint.connect(Stage::Service).await.ok()?;
    let is_whole = |answer: &[u8]| answer.ends_with(b"\n") && lines::wait_for_the_rest(answer).is_none();
    let stream = &mut connection.stream;
    exchange(stream, b"", endpoint.deadline(), is_whole).await?;
    let offered = exchange(stream, b"EHLO scanner.invalid\r\n", endpoint.deadline(), is_whole).await?;
    if !offered.to_ascii_uppercase().windows(4).any(|word| word == b"NTLM") {
        return None;
    }
    let ready = exchange(stream, b"AUTH NTLM\r\n", endpoint.deadline(), is_whole).await?;
    ready.starts_with(b"334").then_some(())?;
    let message = format!("{}\r\n", BASE64.encode(NEGOTIATE));
    let answer = exchange(stream, message.as_bytes(), endpoint.deadline(), is_whole).await?;
    BASE64.decode(answer.strip_prefix(b"334 ")?.trim_ascii()).ok()
}

async fn over_rdp(endpoint: &Endpoint<'_>, connector: &TlsConnector) -> Option<Vec<u8>> {
    let Opened { mut stream, permit: _permit, .. } = endpoint.open(Stage::Tls).await.ok()?;
    Upgrade::Rdp.carry_out(&mut stream, endpoint.name, endpoint.deadline()).await.then_some(())?;
    let mut stream = endpoint.handshake(connector, stream).await.ok()?;
    let is_whole = |answer: &[u8]| answer.len() >= whole_request(answer);
    exchange(&mut stream, &ts_request(), endpoint.deadline(), is_whole).await
}

/// TSRequest of version 6 with one token ([MS-CSSP] section 2.2.1), whose parts are all short.
fn ts_request() -> Vec<u8> {
    let value = |tag: u8, contents: &[u8]| {
        let length = u8::try_from(contents.len()).unwrap_or(0x7f);
        [&[tag, length][..], contents].concat()
    };
    let token = value(0x30, &value(0xa0, &value(0x04, NEGOTIATE)));
    let tokens = value(0xa1, &value(0x30, &token));
    value(0x30, &[value(0xa0, &value(0x02, &[6])), tokens].concat())
}

/// How many bytes an answer in BER has, by its head; as many as there are and one while that is not there.
fn whole_request(answer: &[u8]) -> usize {
    match answer {
        [0x30, length @ 0..=0x7f, ..] => 2 + usize::from(*length),
        [0x30, 0x81, length, ..] => 3 + usize::from(*length),
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [] | [0x30] | [0x30, 0x81 | 0x82] | [0x30, 0x82, _] => answer.len() + 1,
        _ => 0,
    }
}

/// Sends bytes, if there are some, and reads an answer.
async fn exchange(
    stream: &mut (impl Stream + ?Sized),
    bytes: &[u8],
    deadline: Instant,
    is_whole: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let until = deadline.min(Instant::now() + STEP_WAIT);
    if !bytes.is_empty() {
        connection::send(stream, bytes, until).await.then_some(())?;
    }
    let mut answer = Vec::new();
    let patience = Patience { first: until, gap: STEP_WAIT, last: until };
    connection::read(stream, &mut answer, patience, |bytes| bytes.len() > ANSWER_BYTES_MAX || is_whole(bytes)).await;
    (!answer.is_empty()).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CHALLENGE of a server of Windows: flags with the version, 10.0.17763, and the pairs.
    fn challenge_message() -> Vec<u8> {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let pair = |kind: u16, text: &str| {
            let value = wide(text);
            [&kind.to_le_bytes()[..], &u16::try_from(value.len()).unwrap().to_le_bytes(), &value].concat()
        };
        let pairs = [pair(2, "CORP"), pair(1, "FS1"), pair(4, "corp.example"), pair(3, "fs1.corp.example"), vec![0; 4]];
        let pairs = pairs.concat();
        let length = u16::try_from(pairs.len()).unwrap().to_le_bytes();
        let mut message = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0\x05\x82\x89\xa2".to_vec();
        message.extend([0; 16]);
        message.extend([&length[..], &length, &56_u32.to_le_bytes(), &[10, 0, 0x63, 0x45, 0, 0, 0, 15]].concat());
        message.extend(pairs);
        message
    }

    #[test]
    fn a_challenge_tells_host_domain_and_build() {
        let mut service = Service { name: "http".to_owned(), ..Service::default() };
        add(&mut service, &challenge_message());
        assert_eq!(service.hostname.as_deref(), Some("fs1.corp.example"));
        assert_eq!(service.os.as_deref(), Some("Windows"));
        let fact =
            |wanted: &str| service.facts.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        assert_eq!((fact("ntlm-version"), fact("netbios-domain")), (Some("10.0.17763"), Some("CORP")));
        let mut nothing = Service::default();
        add(&mut nothing, b"NTLMSSP\0\x02\0\0\0");
        assert_eq!(nothing, Service::default());
    }

    #[test]
    fn a_request_in_ber_has_its_own_length() {
        let request = ts_request();
        assert_eq!(whole_request(&request), request.len());
        assert_eq!(request.len(), 2 + usize::from(request[1]));
        assert_eq!((whole_request(b"\x30"), whole_request(b"\x30\x82\x01"), whole_request(b"x")), (2, 4, 0));
    }

    #[test]
    fn only_a_page_that_offers_it_is_asked() {
        let page = |status, value: &str| {
            let headers = vec![("www-authenticate".to_owned(), value.to_owned())];
            let http = crate::finding::Http { status, headers, ..crate::finding::Http::default() };
            Service { name: "http".to_owned(), http: Some(Box::new(http)), ..Service::default() }
        };
        assert_eq!(wanted(&page(401, "NTLM")), Some(("/", "NTLM")));
        assert_eq!(wanted(&page(401, "Negotiate")), Some(("/", "Negotiate")));
        assert_eq!(wanted(&page(401, "Negotiate, NTLM, Basic realm=\"x\"")), Some(("/", "NTLM")));
        assert_eq!(wanted(&page(401, "Basic realm=\"NTLM\"")), None);
        assert_eq!(wanted(&page(200, "NTLM")), None);
        let exchange = Service { product: Some("Microsoft Exchange Server".to_owned()), ..Service::default() };
        assert_eq!(wanted(&exchange), Some(("/autodiscover/", "NTLM")));
    }
}
