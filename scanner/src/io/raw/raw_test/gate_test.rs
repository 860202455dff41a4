//! What reaches the other machine at all, counted there: at each stage of a scan nothing passes by the gate.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};

use super::*;
use crate::unit::UnitOutcome;

/// Excluded from every scan here, though it is among the targets, and others lead to it.
const EXCLUDED: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const EXCLUDED_ON_LINK: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 4);
/// The targets behind the gateway that may be asked.
const ALLOWED: usize = 3;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// Something that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    to: Ipv4Addr,
    protocol: u8,
    port: u16,
    flags: u8,
    payload: Vec<u8>,
}

/// Everything that has arrived, and the addresses that were asked for by ARP.
#[derive(Debug, Default)]
struct Log {
    packets: Mutex<Vec<Seen>>,
    asked_for: Mutex<BTreeSet<Ipv4Addr>>,
}

impl Log {
    /// What has arrived since this was last called.
    fn take(&self) -> Vec<Seen> {
        // What has just been sent is read first.
        thread::park_timeout(Duration::from_millis(100));
        std::mem::take(&mut self.packets.lock().unwrap())
    }
}

fn address_at(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    packet.get(at..at + 4)?.try_into().map(u32::from_be_bytes).map(Ipv4Addr::from_bits).ok()
}

fn read_packet(packet: &[u8]) -> Option<Seen> {
    let (head, to) = (usize::from(packet.first()? & 0x0f) * 4, address_at(packet, 16)?);
    let (protocol, rest) = (*packet.get(9)?, packet.get(head..)?);
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let port = rest.get(2..4).map(|port| u16::from_be_bytes([port[0], port[1]])).unwrap_or(0);
    let (flags, own_head) = match protocol {
        TCP => (*rest.get(13)?, usize::from(rest.get(12)? >> 4) * 4),
        UDP => (0, 8),
        _ => (0, rest.len()),
    };
    let payload = packet.get(head + own_head..length.min(packet.len())).unwrap_or_default().to_vec();
    Some(Seen { to, protocol, port, flags, payload })
}

/// Reads everything of one kind that arrives at this machine, for as long as it is there.
fn watch(kind: u16, mut read: impl FnMut(&[u8]) + Send + 'static) {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(SocketProtocol::from(i32::from(kind.to_be())))).unwrap();
    socket.set_recv_buffer_size(8 << 20).unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(length) = (&socket).read(&mut bytes) {
            read(&bytes[..length]);
        }
    });
}

/// Serves connections to a port of every address with whatever `serve` makes of them.
fn serve(port: u16, serve: fn(std::net::TcpStream)) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
}

fn keep_silent(mut stream: std::net::TcpStream) {
    while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {}
}

/// A web server that leads elsewhere with everything that it says.
fn lead_astray(mut stream: std::net::TcpStream) {
    let mut request = [0; 4096];
    let Ok(length) = stream.read(&mut request) else { return };
    let page = "<title>t</title><link rel=icon href=http://10.77.0.2:2080/i.png>";
    let head = match request[..length].starts_with(b"GET / ") {
        true => "302 Found\r\nLocation: http://10.77.0.2:2080/",
        false => "404 Not Found",
    };
    let answer = format!(
        "HTTP/1.1 {head}\r\nServer: nginx/1.18.0\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    let _gone = stream.write_all(answer.as_bytes());
}

/// The other machine's services and its ears.
fn listen(log: &Arc<Log>) {
    let heard = Arc::clone(log);
    watch(ETH_P_IP, move |packet| heard.packets.lock().unwrap().extend(read_packet(packet)));
    let heard = Arc::clone(log);
    watch(ETH_P_ARP, move |packet| heard.asked_for.lock().unwrap().extend(address_at(packet, 24)));
    for port in [515, 9100, 502, 1962] {
        serve(port, keep_silent);
    }
    for port in [2090, 20_000] {
        serve(port, lead_astray);
    }
}

/// A test beside a machine that listens, with what has arrived there.
fn with_ears(test: impl FnOnce(&Log) + Send) {
    let log = Arc::new(Log::default());
    let ears = Arc::clone(&log);
    with_a_cable_to(move || listen(&ears), || test(&log));
}

fn spec(targets: &str, choice: EngineChoice) -> ScanSpec {
    ScanSpec {
        partitions: vec![targets.parse().unwrap()],
        ports: "515,9100,502,1962,20000,2022,2090,U:515,U:9100,U:53,U:9600,U:47808".parse().unwrap(),
        exclude: format!("{EXCLUDED},{EXCLUDED_ON_LINK}").parse().unwrap(),
        services: Some(7),
        weaknesses: true,
        banners: false,
        seed: 5,
        engine: choice,
        ..ScanSpec::default()
    }
}

fn scan(engine: &Engine, spec: ScanSpec) -> (Vec<HostRecord>, Result<UnitOutcome, ScanError>) {
    finish(engine.scan(sample::task(spec)).unwrap())
}

fn engine_of(choice: EngineChoice) -> Engine {
    Engine::start(EngineConfig { choice, ..EngineConfig::default() }).unwrap()
}

/// What arrived at a port with a payload, by address.
fn payloads(seen: &[Seen], protocol: u8, port: u16) -> BTreeMap<Ipv4Addr, Vec<u8>> {
    let mut all: BTreeMap<Ipv4Addr, Vec<u8>> = BTreeMap::new();
    for packet in seen.iter().filter(|seen| (seen.protocol, seen.port) == (protocol, port)) {
        all.entry(packet.to).or_default().extend(&packet.payload);
    }
    all.retain(|_, payload| !payload.is_empty());
    all
}

fn is_anywhere(seen: &[Seen], words: &[u8]) -> bool {
    seen.iter().any(|seen| seen.payload.windows(words.len()).any(|window| window == words))
}

/// What holds of every scan: nothing for the excluded, no payload for printers, devices in their own protocol.
fn assert_gated(seen: &[Seen]) {
    assert!(seen.iter().all(|seen| seen.to != EXCLUDED), "{:?}", seen.iter().find(|seen| seen.to == EXCLUDED));
    for port in [515, 9100] {
        assert!(payloads(seen, TCP, port).is_empty());
        assert!(seen.iter().all(|seen| (seen.protocol, seen.port) != (UDP, port)));
    }
    assert!(payloads(seen, TCP, 1962).is_empty(), "nothing of ours is in its protocol");
    assert!(seen.iter().all(|seen| (seen.protocol, seen.port) != (UDP, 9600)), "nor in this one's");
    for payload in payloads(seen, TCP, 502).values() {
        assert_eq!(payload, b"PN\x00\x00\x00\x05\x01+\x0e\x01\x00", "the identification is asked once");
    }
    for payload in payloads(seen, TCP, 20_000).values() {
        assert!(payload.starts_with(b"\x05d\x05\xc9") && payload.len() == 60, "{}", payload.escape_ascii());
    }
    // One SYN of the scan's, and one of the connection that asks; either may be repeated once by chance.
    for port in [502, 1962, 20_000] {
        for last in [0, 1, 3] {
            let to = Ipv4Addr::new(10, 77, 0, last);
            let syns = seen.iter().filter(|seen| (seen.to, seen.port) == (to, port) && seen.flags & 0x12 == SYN);
            assert!(syns.count() <= 3, "{to}:{port}");
        }
    }
}

#[test]
fn at_each_stage_nothing_passes_by_the_gate() {
    with_ears(|log| {
        for choice in [EngineChoice::Raw, EngineChoice::Connect] {
            let engine = engine_of(choice);
            let (records, outcome) = scan(&engine, spec("10.77.0.0/30", choice));
            outcome.unwrap();
            assert_eq!(records.len(), ALLOWED);
            let seen = log.take();
            assert_gated(&seen);
            // Each stage was there to be held back.
            assert_eq!(payloads(&seen, TCP, 502).len(), ALLOWED, "devices were asked");
            assert_eq!(payloads(&seen, TCP, 20_000).len(), ALLOWED, "devices that are none as well");
            assert_eq!(payloads(&seen, UDP, 47_808).len(), ALLOWED);
            assert_eq!(payloads(&seen, UDP, 53).len(), ALLOWED);
            assert!(is_anywhere(&seen, b"GET / HTTP/1."), "the web server was asked what it is");
            assert!(is_anywhere(&seen, b"GET /.git/HEAD HTTP/1.1"), "and for what it should not show");
            let device = records[0].ports.iter().find(|port| port.port == 20_000).unwrap();
            // What it said to its one question is read; nothing is there that would have taken another.
            let http = device.service.as_ref().and_then(|service| service.http.as_ref());
            assert!(http.is_none_or(|http| http.favicon.is_none()), "{http:?}");
        }
    });
}

#[test]
fn listening_alone_sends_nothing_and_the_excluded_are_not_even_looked_for() {
    with_ears(|log| {
        for choice in [EngineChoice::Raw, EngineChoice::Connect] {
            let engine = engine_of(choice);
            let ports = "515,9100,502,2022".parse().unwrap();
            let (records, outcome) =
                scan(&engine, ScanSpec { services: None, banners: true, ports, ..spec("10.77.0.0/30", choice) });
            outcome.unwrap();
            assert!(records.iter().flat_map(|host| &host.ports).any(|port| port.banner.as_deref() == Some("220 here")));
            let seen = log.take();
            assert_gated(&seen);
            assert!(seen.iter().all(|seen| seen.protocol != TCP || seen.payload.is_empty()));
            let (_, outcome) = scan(&engine, spec("10.9.0.2-10.9.0.6", choice));
            outcome.unwrap();
            // That one asked for services: its questions are none of the next one's.
            log.take();
        }
        let asked_for = log.asked_for.lock().unwrap();
        assert!(
            asked_for.contains(&Ipv4Addr::new(10, 9, 0, 5)) && !asked_for.contains(&EXCLUDED_ON_LINK),
            "{asked_for:?}"
        );
    });
}

#[test]
fn under_ot_safe_single_syns_arrive_and_nothing_else() {
    with_ears(|log| {
        let careful = |choice| {
            let ports = "502,9100,2022,2090".parse().unwrap();
            ScanSpec { profile: Profile::OtSafe, ports, ..spec("10.77.0.0/30", choice) }
        };
        let engine = engine_of(EngineChoice::Auto);
        let (records, outcome) = scan(&engine, careful(EngineChoice::Auto));
        outcome.unwrap();
        assert_eq!(records.iter().map(|host| host.open_ports().count()).sum::<usize>(), 4 * ALLOWED);
        let seen = log.take();
        let is_ours = |seen: &&Seen| seen.to.octets()[..2] == [10, 77];
        assert!(seen.iter().filter(is_ours).all(|seen| seen.to != EXCLUDED && seen.payload.is_empty()));
        // The kernel knows nothing of the SYN-ACKs that come back, and resets.
        assert!(seen.iter().filter(is_ours).all(|seen| seen.protocol == TCP && matches!(seen.flags, SYN | RST)));
        assert_eq!(seen.iter().filter(is_ours).filter(|seen| seen.flags == SYN).count(), 4 * ALLOWED);
        let connecting = engine_of(EngineChoice::Connect);
        let spec = careful(EngineChoice::Auto);
        assert!(matches!(connecting.supports(&spec), Err(ScanError::Unsupported { .. })));
        assert!(spec.validate().is_ok() && careful(EngineChoice::Connect).validate().is_err());
    });
}
