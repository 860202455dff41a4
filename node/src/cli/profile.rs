//! `pentora profile add|list|show|remove`: options of a scan under a name, for `pentora scan --profile NAME`.

use clap::Args;

use super::rules::{Help, Lines, RuleCli, WriteArgs, listed};
use super::table::{Column, NOTHING, Tabular};
use crate::document::{ProfileOptions, ProfileRequest, ProfileWords, Profiles, RuleDocument};
use crate::failure::{ExitCode, Failure};

/// A profile.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// What it is called.
    name: String,
    /// Options: ports, top_ports, top_udp_ports, exclude_ports, rate, max_rate, network_rate, host_rate, timing, discovery,
    /// discovery_probes, engine, banners, services, intensity, weaknesses, retries, confidence, ot_safe.
    #[arg(value_name = "OPTION=VALUE", required = true)]
    options: Vec<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    write: WriteArgs,
}

impl Tabular for RuleDocument<ProfileWords> {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |profile| profile.name.clone()),
            Column::new("Options", |profile| options(&profile.words)),
            Column::new("For", |profile| listed(std::slice::from_ref(&profile.reason))),
            Column::new("By", |profile| listed(std::slice::from_ref(&profile.by))),
        ]
    }
}

fn options(words: &ProfileWords) -> String {
    let line = words.options.line();
    if line.is_empty() { NOTHING.to_owned() } else { line }
}

impl RuleCli for Profiles {
    type Add = AddArgs;

    const ADD: Help = (
        "Keep options of a scan under a name",
        "Examples:\n  pentora profile add web ports=80,443,8000-8100 timing=polite\n  \
                             pentora profile add night top_ports=1000 max_rate=5000 weaknesses=false --reason 'nightly run'\n  \
                             pentora scan 10.0.0.0/16 --profile web",
    );
    const LIST: Help = ("Print all profiles, those that are built in as well", "Example:\n  pentora profile list");
    const SHOW: Help = ("Print one profile", "Example:\n  pentora profile show quick");
    const REMOVE: Help = (
        "Take a profile away; jobs that were submitted with it stay as they are",
        "Example:\n  pentora profile remove web",
    );

    fn request(add: AddArgs) -> Result<(WriteArgs, ProfileRequest), Failure> {
        let AddArgs { name, options, reason, write } = add;
        Ok((write, ProfileRequest { name, options: read(&options)?, reason }))
    }

    fn lines(words: &ProfileWords) -> Lines {
        vec![("Options", options(words))]
    }
}

/// Options as they are typed: a number and a truth value are read as such where the option is one.
fn read(texts: &[String]) -> Result<ProfileOptions, Failure> {
    let wrong = |why: String| {
        Failure::new(ExitCode::Usage, why).next("write OPTION=VALUE; `pentora profile add --help` lists the options")
    };
    let mut fields = serde_json::Map::new();
    for text in texts {
        let (option, value) = text.split_once('=').ok_or_else(|| wrong(format!("`{text}` has no =")))?;
        let as_text = serde_json::Value::from(value);
        // Which kind an option is, its type says: ports are text even where they look like a number.
        let kinds = [serde_json::from_str(value).unwrap_or_else(|_| as_text.clone()), as_text];
        let reads = |kind: &serde_json::Value| {
            serde_json::from_value::<ProfileOptions>(serde_json::json!({ option: kind })).map(drop)
        };
        let fits = kinds.iter().find(|kind| reads(kind).is_ok());
        let last = kinds.last().map_or(Ok(()), reads);
        let value = fits.ok_or_else(|| {
            wrong(format!("`{text}`: {}", last.map_or_else(|why| why.to_string(), |()| String::new())))
        })?;
        if fields.insert(option.to_owned(), value.clone()).is_some() {
            return Err(wrong(format!("{option} is given twice")));
        }
    }
    serde_json::from_value(fields.into()).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    fn typed(texts: &[&str]) -> Result<ProfileOptions, Failure> {
        read(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_as_what_they_are() {
        let options = typed(&["ports=80", "rate=100", "timing=fast", "services=false", "confidence=0.9"]).unwrap();
        assert_eq!((options.ports.as_deref(), options.rate, options.services), (Some("80"), Some(100), Some(false)));
        for (texts, part) in [
            (vec!["ports"], "has no ="),
            (vec!["port=80"], "unknown field `port`"),
            (vec!["rate=fast"], "rate=fast"),
            (vec!["rate=1", "rate=2"], "given twice"),
        ] {
            let failure = typed(&texts).unwrap_err();
            assert!(failure.exit == ExitCode::Usage && failure.what.contains(part), "{failure}");
        }
    }

    #[test]
    fn a_profile_is_listed_by_its_options() {
        let profile = RuleDocument {
            name: "web".into(),
            words: ProfileWords { options: typed(&["ports=80,443"]).unwrap() },
            reason: String::new(),
            by: "admin".into(),
            from: String::new(),
            at: String::new(),
        };
        assert_eq!(cells(&[profile]), [["Name", "Options", "For", "By"], ["web", "ports=80,443", "-", "admin"]]);
    }
}
