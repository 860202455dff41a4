//! Which distribution ships a program, from the marks that it leaves in banners.
//!
//! `OpenSSH_9.2p1 Debian-2+deb12u3`, `nginx/1.18.0 (Ubuntu)`, `8.0.32-0ubuntu0.22.04.2`, `9.11.4-26.P2.el7_9.16`.

/// A distribution, as far as a banner shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Distribution {
    /// Its name as ecosystems are called, in lower case: `debian`, `ubuntu`, `alpine`, `red hat`.
    pub name: &'static str,
    /// Its release, such as `12` or `22.04`.
    pub release: Option<String>,
    /// The whole version of the package, without an epoch, where the banner shows its revision.
    pub package_version: Option<String>,
}

/// Words in banners and what they stand for. Longer ones first.
const NAMES: [(&str, &str); 42] = [
    ("raspbian", "raspbian"),
    ("ubuntu", "ubuntu"),
    ("debian", "debian"),
    ("alpine", "alpine"),
    ("rocky", "rocky linux"),
    ("almalinux", "almalinux"),
    ("centos", "centos"),
    ("red hat", "red hat"),
    ("red-hat", "red hat"),
    ("redhat", "red hat"),
    ("rhel", "red hat"),
    ("fedora", "fedora"),
    ("amazon linux", "amazon"),
    ("amzn", "amazon"),
    ("oracle linux", "oracle"),
    ("opensuse", "opensuse"),
    ("suse", "suse"),
    ("gentoo", "gentoo"),
    ("freebsd", "freebsd"),
    ("netbsd", "netbsd"),
    ("(amazon)", "amazon"),
    ("scientific linux", "scientific linux"),
    ("mageia", "mageia"),
    ("openmandriva", "openmandriva"),
    ("mandriva", "mandriva"),
    ("mandrake", "mandrake"),
    ("openeuler", "openeuler"),
    ("euleros", "euleros"),
    ("anolis", "anolis"),
    ("alibaba cloud linux", "alibaba"),
    ("alinux", "alibaba"),
    ("opencloudos", "opencloudos"),
    ("tencentos", "tencentos"),
    ("(kylin", "kylin"),
    ("cloudlinux", "cloudlinux"),
    ("slackware", "slackware"),
    ("devuan", "devuan"),
    ("kali linux", "kali"),
    ("photon os", "photon os"),
    ("arch linux", "arch linux"),
    ("openwrt", "openwrt"),
    ("turbolinux", "turbolinux"),
];

/// Words behind a version of those who build for themselves, as clouds do for the databases that they let: `8.0.35-google`.
const BUILDERS: [&str; 9] =
    ["aliyun", "alisql", "azure", "cynos", "google", "huaweicloud", "rds", "tencent", "volcano"];
/// What the two servers whose packagers name themselves behind the version say there by themselves, in lower case.
const PLATFORMS: [&str; 13] =
    ["", "beos", "bs2000", "cygwin", "darwin", "macosx", "netware", "os/2", "os/390", "tpf", "unix", "win32", "win64"];

/// The name of a distribution that nothing names.
const UNKNOWN: &str = "unknown";

impl Distribution {
    /// Reads the marks in `version`, the version that a service gave, and in `rest`, whatever else it told.
    #[must_use]
    pub fn of(version: &str, rest: &[&str]) -> Option<Self> {
        // Words are compared in lower case; versions are kept as they stand, because packages' order is by case too.
        let has_letter = |text: &str| text.bytes().any(|byte| byte.is_ascii_alphabetic());
        if !has_letter(version) && !has_revision(version) && !rest.iter().any(|text| has_letter(text)) {
            // No mark is without one, and most versions are numbers only.
            return None;
        }
        let text = std::iter::once(version).chain(rest.iter().copied()).collect::<Vec<_>>().join(" ");
        let words = text.to_ascii_lowercase();
        let is_between = |c: char| c.is_whitespace() || "(),;/".contains(c);
        let tokens = || text.split(is_between).filter(|token| !token.is_empty());
        let (mark, kind) =
            tokens().find_map(|token| Some((token, revision_kind(&token.to_ascii_lowercase())?))).unzip();
        // Red Hat's builds of BIND say so in two letters: `9.16.23-RH`.
        let is_red_hats = || tokens().any(|token| token == "RH" || token.ends_with("-RH"));
        let is_builders = || tokens().any(has_builder);
        let named = || {
            let of_word = NAMES.iter().find(|(word, _)| words.contains(word)).map(|(_, name)| *name);
            of_word.or_else(|| is_red_hats().then_some("red hat"))
        };
        let name = match kind {
            Some(Kind::Deb) if named() != Some("raspbian") => "debian",
            Some(Kind::Ubuntu) => "ubuntu",
            Some(Kind::El) => named().unwrap_or("red hat"),
            // A revision behind the version is a packager's, though nobody tells whose: `5.3.3-7+squeeze19`.
            None if has_revision(version) || is_certified(version) || is_builders() => named().unwrap_or(UNKNOWN),
            Some(Kind::Deb) | None => named()?,
        };
        let upstream = version.split_whitespace().next().unwrap_or_default();
        let package_version = match kind {
            Some(Kind::El) => mark.and_then(rpm_version),
            Some(Kind::Deb | Kind::Ubuntu) => mark.and_then(|mark| deb_version(upstream, mark)),
            // A revision without a mark of its release: `Debian-5`.
            None => tokens().find_map(|token| {
                let revision = without_case(token, "debian-").or_else(|| without_case(token, "ubuntu-"))?;
                let upstream = upstream.split('-').next()?;
                revision.starts_with(|c: char| c.is_ascii_digit()).then(|| format!("{upstream}-{revision}"))
            }),
        };
        Some(Self { name, release: mark.and_then(|mark| release(&mark.to_ascii_lowercase())), package_version })
    }

    /// The distribution that `texts` name, of which nothing more is known: neither release nor revision. What no list has is one
    /// as well, where a server says who has built it: there are more that rebuild others than any list knows.
    #[must_use]
    pub(super) fn named(texts: &[&str]) -> Option<Self> {
        let words = texts.join(" ").to_ascii_lowercase();
        let of_word = NAMES.iter().find(|(word, _)| words.contains(word)).map(|(_, name)| *name);
        let name = of_word.or_else(|| texts.iter().any(|text| names_builder(text)).then_some(UNKNOWN))?;
        Some(Self { name, release: None, package_version: None })
    }

    /// Whether packages are told apart by `ecosystem`, such as `Debian:12`: `None` where the release is not known.
    #[must_use]
    pub fn is_of(&self, ecosystem: &str) -> Option<bool> {
        let mut parts = ecosystem.split(':').skip(1);
        // `Red Hat:enterprise_linux:9::appstream`.
        let release = parts.next().and_then(|part| if part == "enterprise_linux" { parts.next() } else { Some(part) });
        match (&self.release, release) {
            (_, None) => Some(true),
            (None, Some(_)) => None,
            (Some(own), Some(release)) => {
                let major = |release: &str| release.trim_start_matches('v').split('.').next().map(str::to_owned);
                let is_rolling = self.name == "red hat" || self.name.contains("linux");
                Some(own == release || (is_rolling && major(own) == major(release)))
            }
        }
    }
}

/// Whether a part of a token is the word of one who builds for himself.
fn has_builder(token: &str) -> bool {
    token.split(['-', '+', '_', '~']).any(|part| BUILDERS.iter().any(|word| part.eq_ignore_ascii_case(word)))
}

/// Whether a header's first server says in parentheses who has built it: `Apache/2.4.37 (EuroLinux)`, `nginx/1.20.1 (RED OS)`. A platform is nobody,
/// and what has a version of its own is a part.
fn names_builder(header: &str) -> bool {
    let header = header.trim_start().to_ascii_lowercase();
    let behind = ["apache/", "nginx/"].iter().find_map(|server| header.strip_prefix(server));
    let comment = behind.and_then(|rest| {
        let (version, rest) = rest.split_once('(')?;
        let is_next = version.starts_with(|c: char| c.is_ascii_digit()) && version.split_whitespace().count() == 1;
        is_next.then(|| rest.split(')').next()).flatten()
    });
    let is_word = |part: &str| {
        let has_version = part.split(['/', ' ']).any(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        !PLATFORMS.contains(&part) && !has_version
    };
    comment.is_some_and(|comment| comment.split([',', ';']).map(str::trim).any(is_word))
}

/// Whether a packager's revision follows the makers' version: `1.18.0-6`, `2.4.6-97.el7`.
fn has_revision(version: &str) -> bool {
    let version = version.split_whitespace().next().unwrap_or_default();
    version.split_once('-').is_some_and(|(front, revision)| {
        front.starts_with(|c: char| c.is_ascii_digit()) && revision.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Whether it is a build of OpenSSL with a certified module, as distributions for companies have them and go on correcting:
/// `1.0.2k-fips`, `1.1.1k-FIPS`, `1.1.1k  FIPS 25 Mar 2021`.
fn is_certified(version: &str) -> bool {
    let mut words = version.split(|c: char| c.is_whitespace() || matches!(c, '-' | '_' | '+' | '~'));
    words.next().is_some_and(|front| front.starts_with(|c: char| c.is_ascii_digit()))
        && words.any(|word| word.eq_ignore_ascii_case("fips"))
}

#[derive(Clone, Copy)]
enum Kind {
    Deb,
    Ubuntu,
    El,
}

/// What the marks in a revision speak for: `+deb12u3`, `~bpo12+1`, `3ubuntu0.10`, `.el8_9`.
fn revision_kind(token: &str) -> Option<Kind> {
    let digit_after = |mark: &str| {
        token.match_indices(mark).any(|(at, _)| {
            token.get(at + mark.len()..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    // The distribution's name alone is no revision: `ubuntu22` may be a host.
    let may_be_revision = token.starts_with(|c: char| c.is_ascii_digit()) || token.contains('-');
    if may_be_revision && digit_after("ubuntu") && !token.starts_with("ubuntu") {
        return Some(Kind::Ubuntu);
    }
    if may_be_revision && ["+deb", "~deb", "-deb", "~bpo"].into_iter().any(digit_after) {
        return Some(Kind::Deb);
    }
    digit_after(".el").then_some(Kind::El)
}

/// The package's version: upstream's and the revision in `mark`.
fn deb_version(told: &str, mark: &str) -> Option<String> {
    let is_name = |last: &str| last.eq_ignore_ascii_case("debian") || last.eq_ignore_ascii_case("ubuntu");
    let mark = mark.rsplit_once('-').filter(|(_, last)| is_name(last)).map_or(mark, |(front, _)| front);
    let (front, revision) = mark.rsplit_once('-').unwrap_or(("", mark));
    // The mark may hold the upstream version too, and then knows it better: `8.0.32-0ubuntu0.22.04.2`.
    let own = front.split('-').next().filter(|own| own.starts_with(|c: char| c.is_ascii_digit()));
    let upstream = own.unwrap_or(told).split('-').next()?;
    // BIND's `9.11.5-P4` is packed as `9.11.5.P4`.
    let is_level = |part: &&str| {
        part.strip_prefix('P').is_some_and(|level| !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut parts = front.split('-').skip(1).chain(told.split('-').skip(1));
    let level = parts.find(is_level).map_or(String::new(), |level| format!(".{level}"));
    (!upstream.is_empty() && revision.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| format!("{upstream}{level}-{revision}"))
}

/// What follows `prefix`, whatever its case.
fn without_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(prefix.len())?;
    front.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Version and release of an rpm: the last two parts.
fn rpm_version(mark: &str) -> Option<String> {
    let mut parts = mark.rsplit('-');
    let (release, version) = (parts.next()?, parts.next()?);
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| format!("{version}-{release}"))
}

/// The release that a revision names: `deb12u3` is 12, `0ubuntu0.22.04.2` is 22.04, `.el8_9` is 8.
fn release(mark: &str) -> Option<String> {
    let digits = |marker: &str| {
        let rest = mark.split(marker).nth(1)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end).filter(|digits| !digits.is_empty()).map(str::to_owned)
    };
    if let Some((_, rest)) = mark.split_once("ubuntu") {
        // The release stands behind the first number where the package is one for several releases.
        let parts: Vec<&str> = rest.split('.').collect();
        let is_release = |year: &str, month: &str| year.len() == 2 && month.len() == 2 && year.starts_with(['1', '2']);
        return parts.windows(2).find_map(|pair| match pair {
            [year, month] if is_release(year, month) => Some(format!("{year}.{month}")),
            _ => None,
        });
    }
    ["+deb", "~deb", "-deb", "~bpo", ".el"].into_iter().find_map(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_show_their_distribution_release_and_revision() {
        for (version, rest, name, release, package) in [
            ("9.2p1", "Debian-2+deb12u3", "debian", Some("12"), Some("9.2p1-2+deb12u3")),
            ("9.2p1 Debian 2+deb12u3", "protocol 2.0", "debian", Some("12"), Some("9.2p1-2+deb12u3")),
            ("8.9p1", "Ubuntu-3ubuntu0.10", "ubuntu", None, Some("8.9p1-3ubuntu0.10")),
            ("8.9p1 Ubuntu 3ubuntu0.10", "Ubuntu Linux; protocol 2.0", "ubuntu", None, Some("8.9p1-3ubuntu0.10")),
            ("8.0.32-0ubuntu0.22.04.2", "", "ubuntu", Some("22.04"), Some("8.0.32-0ubuntu0.22.04.2")),
            ("10.11.6-MariaDB-0+deb12u1", "", "debian", Some("12"), Some("10.11.6-0+deb12u1")),
            ("15.5", "(Debian 15.5-0+deb12u1)", "debian", Some("12"), Some("15.5-0+deb12u1")),
            ("9.18.28-1~deb12u2-Debian", "", "debian", Some("12"), Some("9.18.28-1~deb12u2")),
            ("9.11.5-P4-5.1+deb10u9-Debian", "", "debian", Some("10"), Some("9.11.5.P4-5.1+deb10u9")),
            ("9.11.5-P4", "5.1+deb10u9-Debian", "debian", Some("10"), Some("9.11.5.P4-5.1+deb10u9")),
            ("9.9.5-9+deb8u19-Debian", "", "debian", Some("8"), Some("9.9.5-9+deb8u19")),
            ("9.11.3-1ubuntu1.18-Ubuntu", "", "ubuntu", None, Some("9.11.3-1ubuntu1.18")),
            ("8.4p1", "Debian-5", "debian", None, Some("8.4p1-5")),
            ("1.18.0", "(Ubuntu)", "ubuntu", None, None),
            ("2.4.57", "(Debian)", "debian", None, None),
            ("9.11.4", "9.11.4-P2-RedHat-9.11.4-26.P2.el7_9.16", "red hat", Some("7"), Some("9.11.4-26.P2.el7_9.16")),
            ("2.4.37", "(Red Hat Enterprise Linux)", "red hat", None, None),
            ("1.3.27", "(Unix)  (Red-Hat/Linux)", "red hat", None, None),
            ("2.4.6", "(CentOS)", "centos", None, None),
            ("5.3.3-7+squeeze19", "", "unknown", None, None),
            ("1.18.0-6", "", "unknown", None, None),
            ("9.16.23-RH", "", "red hat", None, None),
            ("9.16.23", "RH", "red hat", None, None),
            ("9.11.5-P4", "5.1+deb10u9-Debian", "debian", Some("10"), Some("9.11.5.P4-5.1+deb10u9")),
            ("8.0.35-google", "", "unknown", None, None),
            ("8.0.34", "azure", "unknown", None, None),
            ("7.4p1-hpn14v5", "Debian-5", "debian", None, Some("7.4p1-5")),
            ("1.0.2k-fips", "", "unknown", None, None),
            ("1.1.1k-FIPS", "(CentOS)", "centos", None, None),
            ("1.1.1k  FIPS 25 Mar 2021", "", "unknown", None, None),
            ("1.1.1k-12.el8_9", "", "red hat", Some("8"), Some("1.1.1k-12.el8_9")),
            ("2.2.34", "(Amazon)", "amazon", None, None),
            ("2.4.58", "(Amazon Linux)", "amazon", None, None),
            ("2.4.58", "(Mageia)", "mageia", None, None),
            ("1.18.0-6ubuntu14.4", "", "ubuntu", None, Some("1.18.0-6ubuntu14.4")),
            ("9.2p1", "Raspbian-2+deb12u2", "raspbian", Some("12"), Some("9.2p1-2+deb12u2")),
        ] {
            let found = Distribution::of(version, &[rest]).unwrap();
            let expected = package.map(str::to_owned);
            assert_eq!(
                (found.name, found.release.as_deref(), found.package_version),
                (name, release, expected),
                "{version} {rest}"
            );
        }
    }

    #[test]
    fn who_has_built_a_server_is_a_distribution_though_no_list_names_it() {
        for header in [
            "Apache/2.4.37 (Virtuozzo Linux)",
            "Apache/2.4.37 (EuroLinux) OpenSSL/1.1.1k",
            "Apache/2.4.37 (Linux/SLES)",
            "Apache/2.4.6 (Unix; Sangoma)",
            "nginx/1.20.1 (RED OS)",
        ] {
            let found = Distribution::named(&["", header]).unwrap_or_else(|| panic!("{header}"));
            assert_eq!((found.name, found.package_version), (UNKNOWN, None), "{header}");
        }
        for header in [
            "Apache/2.4.58 (Unix) OpenSSL/3.0.2",
            "Apache/2.4.58 (Win64) OpenSSL/3.1.3 PHP/8.2.12",
            "Apache/2.4.54 () OpenSSL/3.0.2",
            "Apache/2.4.58 OpenSSL/3.0.2 (EuroLinux)",
            "Apache/2.4.58 (PHP/8.2.1, OpenSSL 3.0.2)",
            "nginx/1.25.3",
            "Jetty(9.4.51)",
            "Apache (EuroLinux)",
        ] {
            assert_eq!(Distribution::named(&[header]), None, "{header}");
        }
    }

    #[test]
    fn banners_without_marks_show_none() {
        for (version, rest) in [
            ("9.3p1", "protocol 2.0"),
            ("1.25.3", ""),
            ("2.4.58", "(Unix)"),
            ("10.0", "Windows"),
            ("", ""),
            ("5.7.42-log", ""),
            ("fips-server", ""),
            ("1.0.2k", "fipsy"),
        ] {
            assert_eq!(Distribution::of(version, &[rest]), None, "{version} {rest}");
        }
    }

    #[test]
    fn releases_are_compared_as_ecosystems_write_them() {
        let debian = Distribution::of("9.2p1", &["Debian-2+deb12u3"]).unwrap();
        assert_eq!(
            (debian.is_of("Debian:12"), debian.is_of("Debian:11"), debian.is_of("Debian")),
            (Some(true), Some(false), Some(true))
        );
        let red_hat = Distribution::of("9.11.4", &["9.11.4-P2-RedHat-9.11.4-26.P2.el7_9.16"]).unwrap();
        let of = |ecosystem: &str| red_hat.is_of(ecosystem);
        assert_eq!(
            (
                of("Red Hat:enterprise_linux:7::server"),
                of("Red Hat:enterprise_linux:8::baseos"),
                of("Red Hat:rhel_eus:7.6")
            ),
            (Some(true), Some(false), Some(false))
        );
        let ubuntu = Distribution::of("8.9p1", &["Ubuntu-3ubuntu0.10"]).unwrap();
        assert_eq!(ubuntu.is_of("Ubuntu:22.04:LTS"), None);
    }
}
