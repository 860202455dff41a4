//! One host, 65,535 ports, 200 of them open: clean, with loss, and with everything else filtered.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::binaries::binary;
use pentora_tests::dice::Dice;
use pentora_tests::lab::{Course, Host, Truth};
use pentora_tests::process::Process;
use pentora_tests::wait;

use crate::contest::Contest;
use crate::scanners::{Scanner, Task};

const LISTENERS: usize = 200;

/// How the host treats packets.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Loses so many of a hundred packets, each way.
    Loses(u8),
    /// Drops what is for a closed port.
    Hides,
}

pub(crate) fn measure() -> anyhow::Result<()> {
    let clean = [
        Scanner::Raw,
        Scanner::RawDefault,
        Scanner::Connect,
        Scanner::Example,
        Scanner::Masscan,
        Scanner::RustScan,
        Scanner::NmapSyn("-T3"),
        Scanner::NmapSyn("-T4"),
        Scanner::NmapConnect("-T4"),
    ];
    let harder = [
        Scanner::Raw,
        Scanner::RawDefault,
        Scanner::Connect,
        Scanner::Example,
        Scanner::Masscan,
        Scanner::NmapSyn("-T4"),
    ];
    let manners = [
        ("clean", Manner::Loses(0), &clean[..]),
        ("5 % lost, each way", Manner::Loses(5), &harder[..]),
        ("20 % lost, each way", Manner::Loses(20), &harder[..]),
        ("all others filtered", Manner::Hides, &harder[..]),
    ];
    for (what, manner, scanners) in manners {
        println!("\n#### {what}\n");
        hold(manner, scanners)?;
    }
    Ok(())
}

fn hold(manner: Manner, scanners: &[Scanner]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    // The listeners of one seed end when those of the next begin.
    let farm: RefCell<Option<Process>> = RefCell::new(None);
    let course = |seed: u64| -> anyhow::Result<(Course, Truth)> {
        farm.replace(None);
        let course = Course::start(Duration::ZERO)?;
        let course = course.context("a measurement needs a lab: unset PENTORA_SKIP_LAB")?;
        let open = listening(seed);
        farm.replace(Some(listen(course.far(), &open, &folder.path().join(format!("{seed}.log")))?));
        course.far().namespace().nft(&rules(manner, &open))?;
        let open = open.into_iter().map(|port| (Course::FAR, port)).collect();
        Ok((course, Truth { alive: BTreeSet::from([Course::FAR]), open, filtered: BTreeSet::new() }))
    };
    let task = Task { targets: Course::FAR.to_string(), ports: (1..=u16::MAX).collect(), fixed_rate: 100_000 };
    Contest { scanners, task, course: &course, runs: 3, police_pps: 0 }.hold()
}

/// Which ports are open, from a seed.
fn listening(seed: u64) -> BTreeSet<u16> {
    let mut dice = Dice::new(seed);
    let mut open = BTreeSet::new();
    while open.len() < LISTENERS {
        open.extend(u16::try_from(dice.below(1 << 16)).ok().filter(|port| *port > 0));
    }
    open
}

fn listen(host: &Host, ports: &BTreeSet<u16>, log: &std::path::Path) -> anyhow::Result<Process> {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let mut farm = host.command(&binary("lab-farm")?);
    let farm = Process::start(farm.args(["serve", "--ports", &list.join(",")]), log)?;
    wait::until("the farm", Duration::from_secs(10), || Ok(farm.log().contains("listening").then_some(())))?;
    Ok(farm)
}

fn rules(manner: Manner, open: &BTreeSet<u16>) -> String {
    let chain = |hook: &str, rule: &str| {
        format!("  chain {hook} {{ type filter hook {hook} priority 0; policy accept;\n    {rule}\n  }}\n")
    };
    let chains = match manner {
        Manner::Loses(0) => String::new(),
        Manner::Loses(percent) => {
            let rule = format!("numgen random mod 100 < {percent} drop");
            chain("input", &rule) + &chain("output", &rule)
        }
        Manner::Hides => {
            let open: Vec<String> = open.iter().map(u16::to_string).collect();
            chain("input", &format!("tcp dport != {{ {} }} drop", open.join(", ")))
        }
    };
    format!("table ip host {{\n{chains}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_opens_as_many_ports_and_another_one_others() {
        assert_eq!(listening(1).len(), LISTENERS);
        assert_ne!(listening(1), listening(2));
    }

    #[test]
    fn a_hiding_host_drops_all_but_its_open_ports_and_a_clean_one_nothing() {
        assert!(rules(Manner::Hides, &BTreeSet::from([22, 80])).contains("tcp dport != { 22, 80 } drop"));
        assert!(!rules(Manner::Loses(0), &BTreeSet::new()).contains("drop"));
        assert_eq!(rules(Manner::Loses(5), &BTreeSet::new()).matches("mod 100 < 5 drop").count(), 2);
    }
}
