//! What is lost in the middle of a scan, with any engine: what lies behind a gateway that has died was not probed, and of a host that
//! bans the scanner the rest is not known.

use std::net::TcpListener;
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

#[test]
fn what_a_host_hides_that_bans_the_scanner_is_partial_and_lowers_the_recall() -> anyhow::Result<()> {
    let open: Vec<u16> = (100..12_000).step_by(100).collect();
    for engine in ["connect", "raw"] {
        let Some(course) = Course::start(Duration::ZERO)? else { return Ok(()) };
        let listen = |port: &u16| TcpListener::bind((course.far().address(), *port));
        let _listening = course.far().within(|| Ok(open.iter().map(listen).collect::<Result<Vec<_>, _>>()?))?;
        course.far().namespace().nft(
            "table ip ban { chain in { type filter hook input priority 0; ip protocol != tcp accept; \
             limit rate 1/hour burst 4000 packets accept; drop; }; }",
        )?;
        let home = tempfile::tempdir()?;
        let target = course.far().address().to_string();
        let words = ["scan", &target, "--local", "--engine", engine, "--ports", "1-12000", "--rate", "2000"];
        let words = [&words[..], &["--no-discovery", "--no-services", "-o", "json"]].concat();
        let ran = pentora(course.scanner(), home.path(), &[], &words)?;
        assert_eq!(ran.code, 6, "{engine}: {}", ran.stderr);
        let report: Value = serde_json::from_str(&ran.stdout)?;
        let (summary, host) = (&report["summary"], &report["hosts"][0]);
        assert!(host["stopped_after_probes"].is_u64(), "{engine}: {host}");
        let found = host["ports"].as_array().into_iter().flatten().filter(|port| port["state"] == "open").count();
        let truth = found as f64 / open.len() as f64;
        let figure = |key: &Value| key.as_f64().unwrap_or(-1.0);
        let (measured, recall) = (&summary["recall_measured"], figure(&summary["recall_estimate"]));
        let (low, high) = (figure(&measured["low"]), figure(&measured["high"]));
        assert!(truth < 0.7 && low <= truth && truth <= high && high < 1.0, "{engine}: {truth} of {summary}");
        assert!(low <= recall && recall <= high, "{engine}: {summary}");
        assert_eq!(summary["partial"], true, "{engine}: {summary}");
        assert_eq!(summary["not_probed"]["stopped-answering"], 1, "{engine}: {summary}");
        assert!(summary["notes"].to_string().contains("1 of 1 target stopped answering"), "{engine}: {summary}");
    }
    Ok(())
}
