//! A segmentation that is held against a policy, from each zone: what is open beyond the rules is found, and nothing else is said to be.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::ensure;
use pentora_tests::cluster::Cluster;
use pentora_tests::lab::Lab;
use pentora_tests::wait;

const SOON: Duration = Duration::from_secs(40);

#[test]
fn open_ways_that_no_rule_allows_are_found_from_the_zone_that_has_them() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    for (number, zone) in [(2, "zone-office"), (3, "zone-dmz")] {
        let token = cluster.token(&format!("n{number}"), &["--role", "scanner", "--tags", zone])?;
        cluster.join(number, &token)?;
    }
    wait::until("two workers", SOON, || {
        let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
        let idle = list.as_array().into_iter().flatten().filter(|node| node["status"] == "Idle").count();
        Ok((idle == 3).then_some(()))
    })?;
    let listen = |number: usize, port: u16| {
        cluster.lab().host(number).within(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?))
    };
    let _listeners = [listen(3, 443)?, listen(3, 22)?, listen(2, 5432)?];
    // The dmz's port 22 is open for the office alone, and closed to everybody behind it: the firewall is the host's own.
    cluster.lab().host(2).namespace().nft(
        "table inet wall {\n chain in {\n type filter hook input priority 0; policy accept;\n \
         ip saddr 10.88.0.3 tcp dport 5432 drop\n }\n}\n",
    )?;
    let policy = cluster.folder().join("zones.yaml");
    let zones = "zones:\n  office: {networks: [10.88.0.2], tags: [zone-office]}\n  dmz: {networks: [10.88.0.3], tags: [zone-dmz]}\n\
                 ports: 22,443,5432\nallow:\n  - {from: office, to: dmz, ports: \"443\"}\n";
    std::fs::write(&policy, zones)?;
    let path = policy.display().to_string();
    let check =
        |cluster: &Cluster, more: &[&str]| cluster.pentora(1, &[&["segment", "check", &path][..], more].concat());
    let ran = check(&cluster, &["--json"])?;
    let seen: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    ensure!(ran.code == 3 && ran.stderr.contains("1 way is open that no rule allows"), "{ran:?}");
    let of = |from: &str| seen.as_array().and_then(|all| all.iter().find(|one| one["from"] == from)).cloned();
    let (office, dmz) = (of("office").unwrap_or_default(), of("dmz").unwrap_or_default());
    ensure!(office["allowed"] == 1 && office["forbidden"] == 1 && office["ways"][0]["port"] == 22, "{office}");
    ensure!(dmz["allowed"] == 0 && dmz["forbidden"] == 0 && dmz.get("not_looked_at").is_none(), "{dmz}");

    std::fs::write(&policy, zones.replace("\"443\"", "\"22,443\""))?;
    let told = check(&cluster, &[])?.ok()?;
    ensure!(told.contains("office") && !told.contains("reaches"), "{told}");
    // A zone in which nobody stands any more is told as not looked at, never as closed.
    cluster.node_mut(3)?.kill()?;
    wait::until("the worker to be missed", SOON, || {
        let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
        Ok(list.as_array().into_iter().flatten().any(|node| node["status"] == "Failed").then_some(()))
    })?;
    let ran = check(&cluster, &["--from", "dmz"])?;
    ensure!(ran.code == 6 && ran.stdout.contains("not all"), "{ran:?}");
    check(&cluster, &["--from", "plant"])?.refused(2)?;
    std::fs::write(&policy, "zones: [")?;
    check(&cluster, &[])?.refused(2)?;
    Ok(())
}
