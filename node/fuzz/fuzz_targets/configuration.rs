//! A configuration file, and variables of the environment behind a line `---`: refused with places and sentences, or values that
//! show as a file which means the same.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use pentora_node::config::{ConfigText, Purpose, Sources, load, remembered, show};

fuzz_target!(|text: &str| {
    let (file, variables) = text.split_once("\n---env\n").unwrap_or((text, ""));
    let env: BTreeMap<String, String> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    for purpose in [Purpose::Client, Purpose::Node] {
        let sources = |text: &str, env| Sources {
            file: Some(ConfigText { name: "fuzz.yaml".into(), text: text.into() }),
            env,
            purpose,
            ..Sources::default()
        };
        match load(&sources(file, env.clone())) {
            Ok(loaded) => {
                assert!(!show(&loaded, true).is_empty());
                let written = remembered(&loaded);
                let shown = show(&loaded, false);
                // Secrets are not shown, and what follows from one may be refused without it.
                if shown.contains("***") {
                    continue;
                }
                let again = load(&sources(&shown, BTreeMap::new()));
                let again = again.unwrap_or_else(|error| panic!("{error}\n{shown}"));
                assert_eq!(show(&again, false), shown);
                // What the node writes down of its environment is read at its next start.
                let kept = Sources {
                    remembered: Some(ConfigText { name: "node.yaml".into(), text: written }),
                    ..sources("", BTreeMap::new())
                };
                let _ = load(&kept);
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!said.is_empty() && said.lines().all(|line| !line.contains('\r')), "{said:?}");
            }
        }
    }
});
