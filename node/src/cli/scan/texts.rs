//! The files that a scan's flags name: lists of targets and of exclusions, and what nmap wrote.
//!
//! Lists travel to the node as text, so that it names the same position in an error as this command; of nmap's files the
//! hosts travel, as one more list.

use std::fs::File;
use std::io::Read;

use pentora_scanner::io::attached_links;
use pentora_scanner::nmap::{NmapError, NmapHosts, read_nmap};
use pentora_scanner::port::PortSet;
use pentora_scanner::target::{LinkRange, TargetError, TargetSet, decode_text, lines};

use crate::cli::output::counted;
use crate::failure::{ExitCode, Failure};

/// Most bytes of lists taken together: four million addresses, one per line.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The files that a request names, read.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Each with the name for messages.
    pub(super) targets: Vec<(String, String)>,
    pub(super) exclude: Vec<(String, String)>,
    pub(super) nmap: Vec<NmapHosts>,
}

/// What a request comes to.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Every target less every exclusion.
    pub(super) targets: TargetSet,
    /// Every exclusion.
    pub(super) excluded: TargetSet,
    /// Whole links, whose hosts are found when they are scanned.
    pub(super) links: Vec<LinkRange>,
    /// What its user should know before anything is sent.
    pub(super) warnings: Vec<String>,
}

impl Texts {
    /// Reads lists of targets, of exclusions, and files of nmap's; `-` is standard input.
    ///
    /// # Errors
    /// Exit 1 for an unreadable file, 2 with its position for one that is not what it should be.
    pub(super) fn read(targets: &[String], exclude: &[String], nmap: &[String]) -> Result<Self, Failure> {
        if targets.iter().chain(exclude).chain(nmap).filter(|name| *name == "-").count() > 1 {
            return Err(usage("standard input can be read once: give - to one of --file, --exclude-file and --from"));
        }
        let mut left = LIST_BYTES_MAX;
        let mut read = |names: &[String]| {
            let text = |name: &String| {
                let text = list(name, left)?;
                left = left.saturating_sub(text.len() as u64);
                Ok::<_, Failure>((shown(name).to_owned(), text))
            };
            names.iter().map(text).collect::<Result<Vec<_>, _>>()
        };
        let (targets, exclude) = (read(targets)?, read(exclude)?);
        Ok(Self { targets, exclude, nmap: nmap.iter().map(|name| hosts(name)).collect::<Result<_, _>>()? })
    }

    /// All targets of the files as one text.
    pub(super) fn target_text(&self) -> Option<String> {
        let mut text = joined(&self.targets);
        for hosts in &self.nmap {
            text.push_str(&hosts.targets.to_string());
            text.push('\n');
        }
        (!text.is_empty()).then_some(text)
    }

    /// All exclusions of the files as one text.
    pub(super) fn exclude_text(&self) -> Option<String> {
        Some(joined(&self.exclude)).filter(|text| !text.is_empty())
    }

    /// The ports that nmap's files name, as a port list.
    pub(super) fn ports(&self) -> Option<String> {
        let ports: PortSet = self.nmap.iter().flat_map(|hosts| hosts.ports.iter()).collect();
        (!ports.is_empty()).then(|| ports.to_string())
    }

    /// That hosts of nmap's files are no targets, if any are not.
    fn without_link(&self) -> Option<String> {
        let count = self.nmap.iter().map(|hosts| hosts.without_link).sum();
        let first = self.nmap.iter().find_map(|hosts| hosts.first_without_link)?;
        let hosts = counted(count, "host");
        Some(format!(
            "{hosts} of --from left out: {first} is an address of a link, and nmap does not say of which: write it \
            as a target with its interface ({first}%eth0)"
        ))
    }

    /// Parses everything, with the targets and exclusions of the command line. With `sample`, so many addresses of each large
    /// IPv6 network are targets, by a seed.
    ///
    /// # Errors
    /// Exit 2 with the position of the first slip, or where nothing is left to scan.
    pub(super) fn parse(
        &self,
        targets: &[String],
        exclude: &[String],
        sample: Option<(u32, u64)>,
    ) -> Result<Wanted, Failure> {
        let mut wanted = TargetSet::builder();
        for (number, text) in (1..).zip(targets) {
            wanted.add_text(text, &format!("target {number}")).map_err(refused)?;
        }
        let (mut excluded, mut warnings) = (TargetSet::builder(), Vec::new());
        for (name, text) in &self.targets {
            wanted.add_text(text, name).map_err(refused)?;
            if lines(text).all(|line| line.split('#').next().is_none_or(|words| words.trim().is_empty())) {
                warnings.push(format!("the target file {name} names no target"));
            }
        }
        self.nmap.iter().for_each(|hosts| wanted.add_set(&hosts.targets));
        warnings.extend(self.without_link());
        if self.nmap.iter().any(|hosts| hosts.targets.is_empty() && hosts.without_link == 0) {
            warnings.push("a file of --from names no host that was up: nothing is scanned because of it".to_owned());
        }
        let mut leave_out = |text: &str, name: &str, what: String| {
            let mut own = TargetSet::builder();
            own.add_exclusions(text, name).map_err(refused)?;
            let own = own.build_uncounted().map_err(refused)?;
            if own.is_empty() {
                warnings.push(format!("{what} names no target: nothing is left out because of it"));
            }
            excluded.add_set(&own);
            Ok::<(), Failure>(())
        };
        exclude.iter().try_for_each(|text| leave_out(text, "--exclude", format!("--exclude {text:?}")))?;
        self.exclude.iter().try_for_each(|(name, text)| leave_out(text, name, format!("the exclude file {name}")))?;
        excluded.add_set(&wanted.take_excluded().map_err(refused)?);
        let links = if sample.is_none() { wanted.take_links(attached_links) } else { Vec::new() };
        sample.into_iter().for_each(|(count, seed)| drop(wanted.sample(count, seed)));
        let (all, excluded) = (wanted.build().map_err(refused)?, excluded.build_uncounted().map_err(refused)?);
        let left = all.exclude(&excluded);
        if !links.is_empty() {
            return Ok(Wanted { targets: left, excluded, links, warnings });
        }
        match (all.is_empty(), left.is_empty()) {
            (true, _) if self.nmap.is_empty() => {
                Err(usage("no targets").next("name some (`pentora scan 192.168.1.0/24`), or a file of them (--file F)"))
            }
            (true, _) => Err(match self.without_link() {
                Some(why) => usage(format!("no targets: {why}")),
                None => usage("no targets: no host was up in what --from names")
                    .next("nmap tells who is up with -sn, or in any scan but -sL"),
            }),
            (false, true) => Err(usage("the exclusions leave no target")),
            (false, false) => Ok(Wanted { targets: left, excluded, links, warnings }),
        }
    }
}

/// Texts as one, a line of theirs to a line. What ends a line anew is what every release of a node takes for that.
fn joined(texts: &[(String, String)]) -> String {
    let mut joined = String::with_capacity(texts.iter().map(|(_, text)| text.len() + 1).sum());
    for line in texts.iter().flat_map(|(_, text)| lines(text)) {
        joined.push_str(line);
        joined.push('\n');
    }
    joined
}

/// A file's name as messages have it.
fn shown(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

fn open(name: &str) -> std::io::Result<Box<dyn Read>> {
    Ok(if name == "-" { Box::new(std::io::stdin()) } else { Box::new(File::open(name)?) })
}

/// The text of a list of at most `limit_bytes`.
fn list(name: &str, limit_bytes: u64) -> Result<String, Failure> {
    let name_shown = shown(name);
    let failure = |reason: String| Failure::new(ExitCode::Failure, format!("{name_shown} cannot be read: {reason}"));
    let mut bytes = Vec::new();
    let read = open(name).and_then(|source| source.take(limit_bytes + 1).read_to_end(&mut bytes));
    read.map_err(|error| failure(error.to_string()))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(failure("with the other files it is larger than 64 MiB: split it into several jobs".to_owned()));
    }
    decode_text(bytes, name_shown).map_err(|error| usage(error.to_string()))
}

/// The hosts of a file of nmap's.
fn hosts(name: &str) -> Result<NmapHosts, Failure> {
    let name_shown = shown(name);
    let read = open(name).map_err(|error| NmapError::Unreadable { origin: name_shown.to_owned(), error });
    read.and_then(|source| read_nmap(source, name_shown)).map_err(|error| match error {
        NmapError::Unreadable { .. } => Failure::new(ExitCode::Failure, error.to_string()),
        NmapError::Targets(error) => refused(error),
        _ => usage(error.to_string()).next("give --from a whole file of nmap -oX or nmap -oG"),
    })
}

fn refused(error: TargetError) -> Failure {
    let failure = usage(error.to_string());
    match error {
        TargetError::Token { .. } => failure.next("write an address, 10.0.0.0/24, 10.0.0.1-20 or a host name"),
        // Each is written well; what is too much of them says itself what to do.
        TargetError::Set { .. } => failure,
    }
}

fn usage(what: impl Into<String>) -> Failure {
    Failure::new(ExitCode::Usage, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(targets: &[(&str, &str)], exclude: &[(&str, &str)]) -> Texts {
        let owned =
            |texts: &[(&str, &str)]| texts.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        Texts { targets: owned(targets), exclude: owned(exclude), nmap: Vec::new() }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let failure = list("/nonexistent/targets", 9).unwrap_err();
        assert!(failure.what.contains("/nonexistent/targets") && failure.exit == ExitCode::Failure);
        let failure = hosts("/nonexistent/scan.xml").unwrap_err();
        assert!(failure.what.contains("/nonexistent/scan.xml") && failure.exit == ExitCode::Failure);
    }

    #[test]
    fn an_exclusion_that_names_nothing_is_warned_of_by_its_name() {
        let given = texts(&[], &[("never.txt", "# all\r# of them"), ("some.txt", "# a\r10.0.0.3")]);
        let wanted = given.parse(&["10.0.0.2-5".into()], &[String::new(), "10.0.0.4".into()], None).unwrap();
        assert_eq!(wanted.targets.to_string(), "10.0.0.2,10.0.0.5");
        assert_eq!(wanted.excluded.to_string(), "10.0.0.3-10.0.0.4");
        let [first, second] = wanted.warnings.as_slice() else { panic!("{:?}", wanted.warnings) };
        assert!(first.starts_with("--exclude \"\" names no target"), "{first}");
        assert!(second.starts_with("the exclude file never.txt names no target"), "{second}");
    }

    #[test]
    fn a_file_that_names_no_target_is_warned_of_where_others_do() {
        let mut given = texts(&[("none.txt", "# none\n\n"), ("some.txt", "10.0.0.1 # one\n")], &[]);
        given.nmap.push(NmapHosts::default());
        let wanted = given.parse(&[], &[], None).unwrap();
        assert_eq!(wanted.targets.to_string(), "10.0.0.1");
        let [first, second] = wanted.warnings.as_slice() else { panic!("{:?}", wanted.warnings) };
        assert!(first.contains("none.txt names no target") && second.contains("--from names no host"), "{first}");
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.gnmap");
        for text in ["", " \n\n"] {
            std::fs::write(&empty, text).unwrap();
            let refused = hosts(empty.to_str().unwrap()).unwrap_err();
            assert!(refused.exit == ExitCode::Usage && refused.what.contains("empty.gnmap:1:1: the file is empty"));
        }
    }

    #[test]
    fn networks_of_any_size_are_left_out() {
        let given = texts(&[], &[("never.txt", "2001:db8::/32\n8000::/1\n")]);
        let wanted =
            given.parse(&["2001:db8::1,fd00::1-fd00::9,10.0.0.1".into()], &["fd00::/64".into()], None).unwrap();
        assert_eq!(wanted.targets.to_string(), "10.0.0.1");
        let sampled = Texts::default().parse(&["fd01::/64".into()], &["fd01::2".into()], Some((10, 7))).unwrap();
        assert_eq!(sampled.targets.count(), 9);
        let endless = given.parse(&["2001:db8::/64".into()], &[], None).unwrap_err();
        assert!(endless.what.contains("targets in one job") && !endless.to_string().contains("next:"), "{endless}");
    }

    #[test]
    fn lists_travel_as_lines_that_every_node_understands() {
        let given =
            texts(&[("a", "10.0.0.1 # x\r10.0.0.2\u{2028}10.0.0.3"), ("b", "10.0.0.4\r\n")], &[("c", "# y\r::1")]);
        assert_eq!(given.target_text().as_deref(), Some("10.0.0.1 # x\n10.0.0.2\n10.0.0.3\n10.0.0.4\n"));
        assert_eq!(given.exclude_text().as_deref(), Some("# y\n::1\n"));
        assert_eq!(Texts::default().target_text(), None);
    }

    #[test]
    fn what_a_list_of_targets_excludes_is_left_out_of_all_targets() {
        let given = texts(&[("masscan.conf", "range = 10.0.0.0/30\nexclude = 10.0.0.1,10.0.1.1\n")], &[]);
        let wanted = given.parse(&["10.0.1.0-2".into()], &[], None).unwrap();
        assert_eq!(wanted.targets.to_string(), "10.0.0.0,10.0.0.2/31,10.0.1.0,10.0.1.2");
        assert_eq!(wanted.excluded.count(), 2);
    }

    #[test]
    fn hosts_of_nmap_without_a_link_are_left_out_with_a_warning() {
        let of = |text: &str| {
            let hosts = read_nmap(text.as_bytes(), "scan").unwrap();
            Texts { nmap: vec![hosts], ..texts(&[], &[]) }.parse(&[], &[], None)
        };
        let link = "Host: fe80::1 ()\tStatus: Up\n";
        let wanted = of(&format!("{link}Host: 10.0.0.3 ()\tStatus: Up\n")).unwrap();
        assert_eq!(wanted.targets.to_string(), "10.0.0.3");
        assert!(wanted.warnings[0].starts_with("1 host of --from left out: fe80::1 is"), "{:?}", wanted.warnings);
        let refused = of(link).unwrap_err().to_string();
        assert!(refused.contains("1 host of --from left out"), "{refused}");
    }

    #[test]
    fn the_hosts_of_nmap_are_targets_and_their_ports_a_list() {
        let nmap = "Host: 10.0.0.2 ()\tPorts: 22/open/tcp//ssh///, 53/open/udp//domain///\n";
        let nmap = vec![read_nmap(nmap.as_bytes(), "x").unwrap(), NmapHosts::default()];
        let given = Texts { nmap, ..texts(&[("a", "10.0.0.1")], &[]) };
        assert_eq!(given.target_text().as_deref(), Some("10.0.0.1\n10.0.0.2\n\n"));
        assert_eq!(given.ports().as_deref(), Some("T:22,U:53"));
        assert_eq!(given.parse(&[], &["10.0.0.1".into()], None).unwrap().targets.to_string(), "10.0.0.2");
        let none = Texts { nmap: vec![NmapHosts::default()], ..Texts::default() };
        assert!(none.ports().is_none() && none.parse(&[], &[], None).unwrap_err().what.contains("no host was up"));
    }
}
