//! The lab does what it says: its faults cut what they should and nothing else, and nothing of it stays behind.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use super::*;

const BRIEF: Duration = Duration::from_millis(300);

/// Whether a connection from one host to a listener on another comes about within a short time.
fn reaches(lab: &Lab, from: usize, to: usize) -> bool {
    let to = lab.host(to);
    let listener = to.within(|| Ok(TcpListener::bind((to.address(), 0))?)).unwrap();
    let server = listener.local_addr().unwrap();
    lab.host(from).within(|| Ok(TcpStream::connect_timeout(&server, BRIEF).is_ok())).unwrap()
}

fn namespaces() -> String {
    String::from_utf8(Command::new("ip").args(["netns", "list"]).output().unwrap().stdout).unwrap()
}

#[test]
fn hosts_reach_each_other_until_a_fault_and_again_after_it_heals() {
    let Some(lab) = Lab::start(3).unwrap() else { return };
    assert!(reaches(&lab, 1, 2) && reaches(&lab, 2, 3));

    lab.cut(1, 2).unwrap();
    assert!(!reaches(&lab, 1, 2) && !reaches(&lab, 2, 1));
    assert!(reaches(&lab, 1, 3) && reaches(&lab, 3, 2));
    lab.heal().unwrap();
    assert!(reaches(&lab, 1, 2));

    lab.isolate(3).unwrap();
    assert!(!reaches(&lab, 1, 3) && !reaches(&lab, 3, 1));
    assert!(reaches(&lab, 3, 3), "an isolated host hears itself");
    lab.heal().unwrap();

    lab.outbound_only(2).unwrap();
    assert!(reaches(&lab, 2, 1) && !reaches(&lab, 1, 2));
    lab.heal().unwrap();
    assert!(reaches(&lab, 1, 2));
}

#[test]
fn a_one_way_fault_lets_the_other_direction_pass() {
    let Some(lab) = Lab::start(2).unwrap() else { return };
    let [one, two] = [lab.host(1), lab.host(2)];
    let listener = two.within(|| Ok(TcpListener::bind((two.address(), 7000))?)).unwrap();
    let server = listener.local_addr().unwrap();
    let mut outgoing = one.within(|| Ok(TcpStream::connect(server)?)).unwrap();
    let (mut incoming, _) = listener.accept().unwrap();

    lab.oneway(1, 2).unwrap();
    incoming.write_all(b"from two to one").unwrap();
    let mut heard = [0; 15];
    outgoing.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    outgoing.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"from two to one");

    outgoing.write_all(b"from one to two").unwrap();
    incoming.set_read_timeout(Some(BRIEF)).unwrap();
    incoming.read(&mut heard).unwrap_err();
}

#[test]
fn a_dropped_lab_and_a_panicking_test_leave_no_namespace() {
    let Some(lab) = Lab::start(1).unwrap() else { return };
    let name = lab.name.clone();
    assert!(namespaces().contains(&name));
    drop(lab);
    assert!(!namespaces().contains(&name));

    let name = std::sync::Mutex::new(String::new());
    let panicked = std::panic::catch_unwind(|| {
        let lab = Lab::start(1).unwrap().unwrap();
        name.lock().unwrap().clone_from(&lab.name);
        panic!("a failed assertion");
    });
    assert!(panicked.is_err());
    let name = name.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    assert!(!name.is_empty() && !namespaces().contains(name.as_str()));
}

#[test]
fn the_world_behaves_as_its_truth_says() {
    let Some(mut lab) = Lab::start(1).unwrap() else { return };
    lab.add_world(&WorldOptions::default()).unwrap();
    let truth = lab.world().truth();
    let connect = |address: Ipv4Addr, port: u16| {
        let server = SocketAddr::from((address, port));
        lab.host(1)
            .within(|| Ok(TcpStream::connect_timeout(&server, BRIEF).map(drop).map_err(|error| error.kind())))
            .unwrap()
    };
    for &(address, port) in truth.open.iter().take(20) {
        assert_eq!(connect(address, port), Ok(()), "{address} {port} is open");
    }
    for &(address, port) in truth.filtered.iter().take(3) {
        assert_eq!(connect(address, port), Err(std::io::ErrorKind::TimedOut), "{address} {port} is filtered");
    }
    let live = *truth.alive.first().unwrap();
    assert_eq!(connect(live, 81), Err(std::io::ErrorKind::ConnectionRefused));
    let dark =
        (0..=255).map(|last| Ipv4Addr::new(10, 77, 0, last)).find(|address| !truth.alive.contains(address)).unwrap();
    assert_eq!(connect(dark, 80), Err(std::io::ErrorKind::TimedOut));
}

#[test]
fn a_longer_cable_delays_every_packet_and_breaks_none() {
    let Some(mut lab) = Lab::start(2).unwrap() else { return };
    lab.lengthen_cables(Duration::from_millis(10)).unwrap();
    let [one, two] = [lab.host(1), lab.host(2)];
    let listener = two.within(|| Ok(TcpListener::bind((two.address(), 7000))?)).unwrap();
    let server = listener.local_addr().unwrap();
    // The first connection also asks who has the address.
    drop(one.within(|| Ok(TcpStream::connect(server)?)).unwrap());
    let began = Instant::now();
    let mut stream = one.within(|| Ok(TcpStream::connect(server)?)).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(40), "there and back in {:?}", began.elapsed());

    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    drop(listener.accept().unwrap());
    let (mut incoming, _) = listener.accept().unwrap();
    let received = std::thread::spawn(move || {
        let mut all = Vec::new();
        incoming.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        incoming.read_to_end(&mut all).unwrap();
        all
    });
    stream.write_all(&sent).unwrap();
    drop(stream);
    assert!(received.join().unwrap() == sent, "a megabyte arrives as it was sent");
}

#[test]
fn a_course_is_one_cable_of_its_length_with_a_world_at_its_end() {
    let Some(mut course) = Course::start(Duration::from_millis(10)).unwrap() else { return };
    let truth = course.become_world(&WorldOptions::default()).unwrap().truth().clone();
    let server = SocketAddr::from(*truth.open.first().unwrap());
    let connect = || course.scanner().within(|| Ok(TcpStream::connect_timeout(&server, Duration::from_secs(5))?));
    // The first connection also asks who has the gateway's address.
    drop(connect().unwrap());
    let began = Instant::now();
    drop(connect().unwrap());
    let took = began.elapsed();
    assert!((Duration::from_millis(20)..Duration::from_millis(500)).contains(&took), "there and back in {took:?}");
}

#[test]
fn a_policed_world_lets_through_its_rate_and_little_more() {
    let Some(mut course) = Course::start(Duration::ZERO).unwrap() else { return };
    course.become_world(&WorldOptions { police_pps: 100, ..WorldOptions::default() }).unwrap();
    let began = Instant::now();
    let send = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        (0..2000).try_for_each(|_| socket.send_to(b"x", "10.77.0.1:9").map(drop))?;
        Ok(())
    };
    course.scanner().within(send).unwrap();
    let counter = ["list", "counter", "ip", "world", "passed"];
    let output = course.far().command(Path::new("nft")).args(counter).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let passed: f64 = text.split_whitespace().skip_while(|word| *word != "packets").nth(1).unwrap().parse().unwrap();
    let most = 6.0 + 100.0 * began.elapsed().as_secs_f64();
    assert!(passed >= 5.0 && passed <= most + 5.0, "{passed} of at most {most}");
}

#[test]
fn a_lab_has_no_way_out() {
    let Some(lab) = Lab::start(1).unwrap() else { return };
    let routes = lab.host(1).command(Path::new("ip")).args(["route", "show"]).output().unwrap();
    let routes = String::from_utf8(routes.stdout).unwrap();
    assert!(routes.contains("10.88.0.0/16 dev eth0") && !routes.contains("default"), "{routes}");
}
