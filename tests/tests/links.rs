//! Whole IPv6 links as targets: the hosts on them are found by asking all nodes, and nobody is asked beside an exclusion.

use std::net::TcpListener;
use std::time::Duration;

use pentora_tests::command_line::{Ran, pentora};
use pentora_tests::lab::Course;
use serde_json::Value;
use tempfile::TempDir;

/// A scanner and another machine on one link, fd77::1 and fd77::2, which listens on port 8080.
struct Place {
    course: Course,
    home: TempDir,
    _listener: TcpListener,
}

impl Place {
    fn make() -> anyhow::Result<Option<Self>> {
        let Some(course) = Course::start(Duration::ZERO)? else { return Ok(None) };
        for (host, number) in [(course.scanner(), 1), (course.far(), 2)] {
            for prefix in ["fd77", "fe80"] {
                host.namespace().ip(&format!("addr add {prefix}::{number}/64 dev eth0 nodad"))?;
            }
        }
        let listener = course.far().within(|| Ok(TcpListener::bind("[::]:8080")?))?;
        Ok(Some(Self { course, home: tempfile::tempdir()?, _listener: listener }))
    }

    fn scan(&self, words: &[&str]) -> anyhow::Result<Ran> {
        let plain = ["scan", "--ports", "8080,8081", "--no-services", "--local"];
        pentora(self.course.scanner(), self.home.path(), &[], &[&plain, words].concat())
    }
}

/// The list under a key.
fn list<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The hosts of a report with their open ports, and its notes.
fn told(report: &Value) -> (Vec<(String, u64)>, String) {
    let is_open = |port: &&Value| port.get("state").is_some_and(|state| state == "open");
    let open = list(report, "hosts").flat_map(|host| {
        let address = host.get("address").and_then(Value::as_str).unwrap_or_default();
        let numbers = list(host, "ports").filter(is_open).filter_map(|port| port.get("port")?.as_u64());
        numbers.map(|number| (address.to_owned(), number)).collect::<Vec<_>>()
    });
    let notes = report.pointer("/summary/notes").map(ToString::to_string);
    (open.collect(), notes.unwrap_or_default())
}

#[test]
fn the_hosts_of_a_link_are_scanned_and_the_report_calls_them_a_sample() -> anyhow::Result<()> {
    let Some(place) = Place::make()? else { return Ok(()) };
    for (link, host) in [("fe80::/64%eth0", "fe80::2"), ("fd77::/64", "fd77::2")] {
        let (open, notes) = told(&place.scan(&[link, "-o", "json"])?.json()?);
        assert!(open.iter().any(|(address, port)| address.starts_with(host) && *port == 8080), "{link}: {open:?}");
        assert!(open.iter().all(|(_, port)| *port == 8080), "{link}: {open:?}");
        assert!(notes.contains("is a sample") && notes.contains("scanned, who answered"), "{link}: {notes}");
    }
    Ok(())
}

#[test]
fn a_link_of_which_somebody_is_excluded_is_not_asked_and_one_that_cannot_be_is_told() -> anyhow::Result<()> {
    let Some(place) = Place::make()? else { return Ok(()) };
    let refused = place.scan(&["fd77::/64", "--exclude", "fd77::9"])?.refused(4)?;
    assert!(refused.contains("would reach what is excluded"), "{refused}");
    let alone = place.scan(&["fd99::/64"])?.refused(2)?;
    assert!(alone.contains("--sample"), "no link has it: {alone}");
    let listed = place.scan(&["fd77::/64", "10.76.0.2", "--list-targets"])?;
    assert_eq!(listed.stdout, "10.76.0.2\n", "{listed:?}");
    assert!(listed.stderr.contains("fd77::/64 are found when it is scanned"), "{listed:?}");
    place.course.far().namespace().ip("addr del fd77::2/64 dev eth0")?;
    let silent = place.scan(&["fd77::/64"])?.refused(6)?;
    assert!(silent.contains("nobody there answers"), "{silent}");
    place.course.scanner().namespace().ip("link set eth0 down")?;
    let down = place.scan(&["fe80::/64%eth0"])?.refused(6)?;
    assert!(down.contains("its interface is down"), "{down}");
    Ok(())
}
