//! How many bytes leave hosts for others, and how many packets of which host arrive at one, as the kernel there counts them: what
//! a program says of itself is not asked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use anyhow::Context;
use serde_json::Value;

use super::{Host, Lab};

/// Counts what leaves some hosts for others, from when it is set.
#[derive(Debug)]
pub struct Meter<'a> {
    from: Vec<&'a Host>,
}

impl<'a> Meter<'a> {
    pub(super) fn set(lab: &'a Lab, from: &[usize], to: &[usize]) -> anyhow::Result<Self> {
        let to: Vec<Ipv4Addr> = to.iter().map(|number| lab.host(*number).address()).collect();
        let to = to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let rules = format!(
            "table inet departures\ndelete table inet departures\ntable inet departures {{\n  chain out {{ \
             type filter hook output priority 10; policy accept; ip daddr {{ {to} }} counter; }}\n}}\n"
        );
        let from: Vec<&Host> = from.iter().map(|number| lab.host(*number)).collect();
        from.iter().try_for_each(|host| host.namespace().nft(&rules))?;
        Ok(Self { from })
    }

    /// The bytes so far, headers and all.
    ///
    /// # Errors
    /// Where the counters cannot be read.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        self.from.iter().map(|host| counted(host)).sum()
    }
}

fn counted(host: &Host) -> anyhow::Result<u64> {
    let listed = host.namespace().nft_says(&["-j", "list", "chain", "inet", "departures", "out"])?;
    let listed: Value = serde_json::from_str(&listed).context("what nft lists")?;
    let items = listed.get("nftables").and_then(Value::as_array).context("a list of nft's")?;
    let of_rule = |item: &Value| item.pointer("/rule/expr")?.as_array()?.iter().find_map(bytes_of);
    items.iter().find_map(of_rule).context("the counter")
}

fn bytes_of(expression: &Value) -> Option<u64> {
    expression.pointer("/counter/bytes")?.as_u64()
}

/// Counts the packets that arrive at a host for a network, by the lab's host that they come from, from when it is set.
#[derive(Debug)]
pub struct Arrivals<'a> {
    at: &'a Host,
}

impl<'a> Arrivals<'a> {
    pub(super) fn set(lab: &'a Lab, at: usize, network: &str) -> anyhow::Result<Self> {
        let (mut counters, mut rules) = (String::new(), String::new());
        for number in 1..=lab.size() {
            let from = lab.host(number).address();
            writeln!(counters, "  counter from{number} {{ }}")?;
            writeln!(rules, "    ip daddr {network} ip saddr {from} counter name from{number}")?;
        }
        let at = lab.host(at);
        at.namespace().nft(&format!(
            "table inet arrivals\ndelete table inet arrivals\ntable inet arrivals {{\n{counters}  chain in {{\n    type filter \
             hook input priority 10; policy accept;\n{rules}  }}\n}}\n"
        ))?;
        Ok(Self { at })
    }

    /// How many came so far of each host that any came of.
    ///
    /// # Errors
    /// Where the counters cannot be read.
    pub fn packets(&self) -> anyhow::Result<BTreeMap<usize, u64>> {
        let listed = self.at.namespace().nft_says(&["-j", "list", "counters", "table", "inet", "arrivals"])?;
        let listed: Value = serde_json::from_str(&listed).context("what nft lists")?;
        let items = listed.get("nftables").and_then(Value::as_array).context("a list of nft's")?;
        let of = |item: &Value| {
            let counter = item.get("counter")?;
            let number = counter.get("name")?.as_str()?.strip_prefix("from")?.parse().ok()?;
            Some((number, counter.get("packets")?.as_u64()?))
        };
        Ok(items.iter().filter_map(of).filter(|(_, packets)| *packets > 0).collect())
    }
}
