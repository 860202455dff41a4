//! A way that is lost in the middle of a scan: what lies behind a gateway that has died was not probed, with any engine.

use std::time::Duration;

use pentora_tests::command_line::pentora;
use pentora_tests::lab::{Course, Host, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

/// Packets that a host has received on its cable.
fn received(host: &Host) -> anyhow::Result<u64> {
    let table = host.within(|| Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?))?;
    let line = table.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    Ok(line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0))
}

/// How many ports of a host have a state, listed or not; of any state, if none is named.
fn count(host: &Value, state: Option<&str>) -> u64 {
    let list = |key: &str| host.get(key).and_then(Value::as_array).into_iter().flatten();
    let has = |of: &&Value| state.is_none_or(|state| of.get("state").is_some_and(|of| of == state));
    let groups = list("not_shown").filter(has).filter_map(|group| group.get("count")?.as_u64());
    list("ports").filter(has).count() as u64 + groups.sum::<u64>()
}

#[test]
fn what_lies_behind_a_gateway_that_dies_is_not_probed_and_none_of_its_ports_filtered() -> anyhow::Result<()> {
    for engine in ["connect", "raw"] {
        let Some(mut course) = Course::start(Duration::ZERO)? else { return Ok(()) };
        let options = WorldOptions { addresses: 32, alive_percent: 100, ..WorldOptions::default() };
        course.become_world(&options)?;
        // The kernel would believe in the gateway for half a minute.
        for (parameter, value) in [("base_reachable_time_ms", "1500"), ("delay_first_probe_time", "1")] {
            course.scanner().namespace().set_text(&format!("ipv4/neigh/eth0/{parameter}"), value)?;
        }
        let home = tempfile::tempdir()?;
        let words =
            ["scan", "10.77.0.0/27", "--local", "--engine", engine, "--ports", "1-400", "--rate", "1000", "-o", "json"];
        let words = [&words[..], &["--no-services"]].concat();
        let ran = std::thread::scope(|scope| {
            let scan = scope.spawn(|| pentora(course.scanner(), home.path(), &[], &words));
            wait::until("probes", Duration::from_secs(20), || Ok((received(course.far())? > 3000).then_some(())))?;
            course.far().namespace().ip("addr del 10.76.0.2/24 dev eth0")?;
            course.far().namespace().ip("link set eth0 arp off")?;
            scan.join().map_err(|_panicked| anyhow::anyhow!("the scan has panicked"))?
        })?;
        assert_eq!(ran.code, 6, "{engine}: {}", ran.stderr);
        let report: Value = serde_json::from_str(&ran.stdout)?;
        let summary = &report["summary"];
        let hosts = report["hosts"].as_array().into_iter().flatten();
        // What was done before the gateway died is whole, and of the rest is told what was heard.
        let (whole, cut): (Vec<&Value>, Vec<&Value>) = hosts.partition(|host| count(host, None) == 400);
        assert_eq!(summary["targets_scanned"], whole.len(), "{engine}: {summary}");
        assert_eq!(summary["not_probed"]["gateway-silent"], 32 - whole.len(), "{engine}: {summary}");
        assert!(!cut.is_empty() && cut.iter().all(|host| count(host, Some("filtered")) == 0), "{engine}: {cut:?}");
    }
    Ok(())
}
