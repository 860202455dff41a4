//! `pentora scan --list-targets`: what would be scanned, one target to a line. Nothing is sent, resolved or asked of a node.

use std::io::{self, Write};

use pentora_scanner::report::Format;
use pentora_scanner::scope::Scope;
use pentora_scanner::target::{Target, TargetSet, Zoned};

use super::texts::Wanted;
use crate::cli::context::Context;
use crate::cli::output::{counted, unread_failure};
use crate::failure::{ExitCode, Failure};

/// Names that a note shows.
const NAMES_SHOWN: usize = 3;

/// Prints the targets of a scan in their order, as lines or as one JSON document. They are made as they are printed.
///
/// # Errors
/// Exit 2 for a format of results.
pub(super) fn print(wanted: &Wanted, format: Format, context: &mut Context) -> Result<(), Failure> {
    if !matches!(format, Format::Table | Format::List | Format::Json) {
        return Err(Failure::new(ExitCode::Usage, "--list-targets prints lines, or one document with -o json"));
    }
    let notes = notes(wanted);
    notes.iter().for_each(|note| context.say(format_args!("note: {note}")));
    let out = context.output.writer();
    let written =
        if format == Format::Json { document(&wanted.targets, &notes, out) } else { plain(&wanted.targets, out) };
    written.and_then(|()| out.flush()).map_err(|error| unread_failure(&error))
}

/// What the list cannot show.
fn notes(wanted: &Wanted) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(
        wanted.links.iter().map(|link| format!("the hosts of {link} are found when it is scanned from this machine")),
    );
    if wanted.targets.name_count() > 0 {
        let count = counted(wanted.targets.name_count(), "host name");
        notes.push(format!("{count} as written: their addresses are looked up when they are scanned"));
    }
    if let Err(error) = Scope::default().check(&wanted.targets) {
        notes.push(format!(
            "{} is beyond private space: a cluster scans it only where `pentora scope list` allows it, this process does not",
            error.outside
        ));
    }
    let excluded = &wanted.excluded;
    if excluded.name_count() > 0 {
        let shown: Vec<&str> = excluded.names().take(NAMES_SHOWN).collect();
        let more = if excluded.names().len() > shown.len() { ", ..." } else { "" };
        let count = counted(excluded.name_count(), "host name");
        notes.push(format!(
            "the exclusions hold {count} ({}{more}): their addresses are not looked up here and may be in the list",
            shown.join(", ")
        ));
    }
    notes
}

fn each(targets: &TargetSet) -> impl Iterator<Item = Target<'_>> {
    (0..targets.count()).map_while(|index| targets.get(index))
}

fn plain(targets: &TargetSet, out: &mut dyn Write) -> io::Result<()> {
    each(targets).try_for_each(|target| writeln!(out, "{}", text(target)))
}

fn text(target: Target<'_>) -> String {
    match target {
        Target::Address(address) => Zoned(address).to_string(),
        Target::Name(name) => name.to_owned(),
    }
}

/// `{"targets_total": 2, "addresses": 1, "names": 1, "notes": [...], "targets": ["10.0.0.1", "web.example"]}`.
fn document(targets: &TargetSet, notes: &[String], out: &mut dyn Write) -> io::Result<()> {
    let (total, addresses, names) = (targets.count(), targets.address_count(), targets.name_count());
    write!(out, r#"{{"targets_total":{total},"addresses":{addresses},"names":{names},"notes":"#)?;
    serde_json::to_writer(&mut *out, notes)?;
    out.write_all(b",\"targets\":[")?;
    strings(each(targets).map(text), out)?;
    out.write_all(b"\n]}\n")
}

/// Strings in JSON, a line each. A name holds nothing that is escaped there, and an interface in a zone may.
fn strings(texts: impl Iterator<Item = String>, out: &mut dyn Write) -> io::Result<()> {
    for (number, text) in texts.enumerate() {
        out.write_all(if number == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(targets: &str, excluded: &str) -> Wanted {
        let (targets, excluded) = (targets.parse().unwrap(), excluded.parse().unwrap());
        Wanted { targets, excluded, links: Vec::new(), warnings: Vec::new() }
    }

    #[test]
    fn a_document_is_json_with_every_target_in_order() {
        let mut out = Vec::new();
        let wanted = wanted("web.example,10.0.0.2/31,::1", "a.example,b.example,c.example,d.example");
        document(&wanted.targets, &notes(&wanted), &mut out).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["targets"], serde_json::json!(["10.0.0.2", "10.0.0.3", "::1", "web.example"]));
        assert_eq!((&read["targets_total"], &read["addresses"], &read["names"]), (&4.into(), &3.into(), &1.into()));
        let notes = read["notes"].to_string();
        assert!(notes.contains("1 host name as written") && notes.contains("4 host names (a.example, b.example, c."));
        let mut none = Vec::new();
        document(&TargetSet::default(), &[], &mut none).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&none).unwrap()["targets"], serde_json::json!([]));
    }

    #[test]
    fn an_interface_of_any_name_makes_no_document_unreadable() {
        let texts = ["fe80::1%d-a\"q".to_owned(), "10.0.0.1".to_owned()];
        let mut out = b"[".to_vec();
        strings(texts.iter().cloned(), &mut out).unwrap();
        out.push(b']');
        assert_eq!(serde_json::from_slice::<Vec<String>>(&out).unwrap(), texts);
    }

    #[test]
    fn what_needs_a_scope_is_listed_with_a_note() {
        let mut context = Context::for_test(Vec::new());
        let outside = notes(&wanted("10.0.0.1,192.0.2.1", ""));
        assert!(outside.len() == 1 && outside[0].starts_with("192.0.2.1 is beyond private space"), "{outside:?}");
        print(&wanted("10.0.0.1,192.0.2.1", ""), Format::List, &mut context).unwrap();
        assert_eq!(print(&wanted("10.0.0.1", ""), Format::Csv, &mut context).unwrap_err().exit, ExitCode::Usage);
        print(&wanted("10.0.0.1", ""), Format::Table, &mut context).unwrap();
    }
}
