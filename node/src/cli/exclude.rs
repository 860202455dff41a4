//! `pentora exclude add|list|show|remove`: which addresses are left out of every job.

use clap::Args;
use pentora_scanner::target::TargetSet;

use super::rules::{Help, Lines, RuleCli, WhenArgs, WriteArgs, listed};
use super::table::{Column, Tabular};
use crate::document::{ExclusionRequest, ExclusionWords, Exclusions, RuleDocument};
use crate::exclusions::{self, Unresolved};
use crate::failure::Failure;

/// Names without an address that are told of.
const REMARKS_MAX: usize = 5;

/// An exclusion.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Addresses, prefixes, ranges and host names.
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// What it is called [default: made of the first target].
    #[arg(long)]
    name: Option<String>,
    /// Why they are left out.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    when: WhenArgs,
    #[command(flatten)]
    write: WriteArgs,
}

impl Tabular for RuleDocument<ExclusionWords> {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |exclusion| exclusion.name.clone()),
            Column::new("Targets", |exclusion| listed(&exclusion.words.targets)),
            Column::new("When", |exclusion| when(&exclusion.words)),
            Column::new("Reason", |exclusion| listed(std::slice::from_ref(&exclusion.reason))),
            Column::new("By", |exclusion| listed(std::slice::from_ref(&exclusion.by))),
            Column::new("At", |exclusion| exclusion.at.clone()),
        ]
    }
}

fn when(words: &ExclusionWords) -> String {
    words.when.as_ref().map_or_else(|| "always".to_owned(), crate::document::WhenFields::words)
}

impl RuleCli for Exclusions {
    type Add = AddArgs;

    const ADD: Help = (
        "Leave addresses out of every job, always or at some hours",
        "Examples:\n  pentora exclude add plc1.plant 10.9.0.0/16 --name plant --reason 'controllers'\n  \
                             pentora exclude add 10.3.0.5 --hours 08:00-18:00 --days mon-fri --zone Europe/Berlin\n  \
                             pentora exclude add 10.4.0.0/16 --from 2026-12-24T00:00 --until 2027-01-02T00:00 --zone Europe/Berlin",
    );
    const LIST: Help = ("Print all exclusions", "Example:\n  pentora exclude list --json");
    const SHOW: Help = ("Print one exclusion with who wrote it", "Example:\n  pentora exclude show plant");
    const REMOVE: Help = (
        "Take an exclusion away; jobs that were submitted under it leave its addresses out to their end",
        "Example:\n  pentora exclude remove plant",
    );

    fn request(add: AddArgs) -> Result<(WriteArgs, ExclusionRequest), Failure> {
        let AddArgs { targets, name, reason, when, write } = add;
        Ok((write, ExclusionRequest { name, targets, when: when.fields(), reason }))
    }

    fn remarks(request: &ExclusionRequest) -> Vec<String> {
        let mut named = TargetSet::builder();
        let read = request.targets.iter().try_for_each(|text| named.add_exclusions(text, "exclude"));
        let named = read.and_then(|()| named.build_uncounted()).unwrap_or_default();
        let Ok(resolved) = exclusions::resolved(&named, Unresolved::Skip) else { return Vec::new() };
        let told = resolved.passed_over.iter().take(REMARKS_MAX);
        told.map(|(name, why)| {
            format!(
                "{name} has no address on this machine ({why}): where a node finds none either, it refuses scans, or passes the name \
                 over and leaves nothing out (--exclude-unresolved skip)"
            )
        })
        .collect()
    }

    fn lines(words: &ExclusionWords) -> Lines {
        vec![("Targets", listed(&words.targets)), ("When", when(words))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;
    use crate::document::WhenFields;

    #[test]
    fn a_name_that_protects_nothing_is_told_of() {
        let request = |targets: &[&str]| ExclusionRequest {
            name: None,
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            when: None,
            reason: String::new(),
        };
        // RFC 6761 section 6.4: no resolver has an address for it.
        let told = Exclusions::remarks(&request(&["10.0.0.0/8", "plc1.invalid", "localhost"]));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("plc1.invalid has no address on this machine ("), "{told:?}");
        assert_eq!(Exclusions::remarks(&request(&["10.0.0.0/8", "::1"])), Vec::<String>::new());
    }

    #[test]
    fn an_exclusion_is_listed_with_its_hours() {
        let hours = WhenFields {
            days: Some("mon-fri".into()),
            hours: Some("08:00-18:00".into()),
            zone: Some("Europe/Berlin".into()),
            ..WhenFields::default()
        };
        let exclusion = |when| RuleDocument {
            name: "plant".into(),
            words: ExclusionWords { targets: vec!["plc1.plant".into()], when },
            reason: String::new(),
            by: "admin".into(),
            from: String::new(),
            at: "2025-07-10T12:00:00Z".into(),
        };
        let heads = ["Name", "Targets", "When", "Reason", "By", "At"];
        let row = |when| ["plant", "plc1.plant", when, "-", "admin", "2025-07-10T12:00:00Z"];
        let rows = cells(&[exclusion(None), exclusion(Some(hours))]);
        assert_eq!(rows, [heads, row("always"), row("mon-fri 08:00-18:00 Europe/Berlin")]);
    }
}
