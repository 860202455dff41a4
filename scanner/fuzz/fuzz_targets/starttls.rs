//! The words before TLS: whatever a server answers, few and short messages are sent, and then it is over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::starttls::{Move, Upgrade};

const SERVICES: [&str; 11] = [
    "smtp", "imap", "pop3", "ftp", "ldap", "postgresql", "mysql", "ms-wbt-server", "mssql", "xmpp", "managesieve",
];

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    let upgrade = Upgrade::of(SERVICES[usize::from(*which) % SERVICES.len()]).expect("it can be upgraded");
    // Parts of what the server says, each with its length before it.
    let mut parts = Vec::new();
    let mut left = rest;
    while let Some((length, more)) = left.split_first() {
        let (part, after) = more.split_at(usize::from(*length).min(more.len()));
        parts.push(part);
        left = after;
    }
    let (mut sent, mut reply, mut parts) = (0, Vec::new(), parts.into_iter());
    loop {
        let next = upgrade.next(sent, &reply);
        assert_eq!(upgrade.next(sent, &reply), next);
        match next {
            Move::Send(bytes) => {
                assert!((1..=128).contains(&bytes.len()));
                sent += 1;
                assert!(sent <= 2, "more is sent than a greeting and a command");
                reply.clear();
            }
            Move::Wait => match parts.next() {
                Some(part) => reply.extend(part),
                None => return,
            },
            Move::Handshake => {
                assert!(sent >= 1, "nobody was asked");
                return;
            }
            Move::Refused => return,
        }
    }
});
