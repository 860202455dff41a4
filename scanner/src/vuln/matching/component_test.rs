//! Services that name several products: each with its own version, and advisories held against that alone.

use serde_json::json;

use super::*;
use crate::finding::Http;
use crate::vuln::feed::FeedKind;

use super::tests::{cve, nvd, store};

/// A web server with these headers, known as `product` at `version`.
fn web(product: &str, version: &str, headers: &[(&str, &str)]) -> Service {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let server = headers.iter().find(|(name, _)| name == "server").map(|(_, value)| value.clone());
    let generator = headers.iter().find(|(name, _)| name == "generator").map(|(_, value)| value.clone());
    let http = Http { status: 200, server, generator, headers, ..Http::default() };
    Service {
        name: "http".to_owned(),
        confidence: if product.is_empty() { 60 } else { 90 },
        product: some(product),
        version: some(version),
        http: Some(Box::new(http)),
        ..Service::default()
    }
}

fn feeds() -> crate::vuln::store::MemoryStore {
    let below = |id: &str, key: &str, version: &str| {
        let criteria = format!("cpe:2.3:a:{key}:*:*:*:*:*:*:*:*");
        json!({"cve": {"id": id, "configurations": [{"nodes": [{"operator": "OR", "cpeMatch": [
            {"vulnerable": true, "criteria": criteria, "versionEndExcluding": version}]}]}]}})
    };
    let all = json!({"format": "NVD_CVE", "vulnerabilities": [
        below("CVE-1999-900010", "apache:http_server", "2.4.55"),
        below("CVE-1999-900011", "php:php", "7.4.30"),
        below("CVE-1999-900012", "openssl:openssl", "1.0.2"),
        below("CVE-1999-900013", "f5:nginx", "1.21.0"),
        below("CVE-1999-900014", "python:python", "3.9.0"),
        below("CVE-1999-900015", "apache:tomcat", "8.5.90"),
        below("CVE-1999-900016", "wordpress:wordpress", "6.2.0"),
        below("CVE-1999-900017", "phusion:passenger", "5.0.0"),
        below("CVE-1999-900018", "ruby-lang:ruby", "2.7.0"),
        below("CVE-1999-900019", "cisco:ios", "15.0"),
    ]});
    store(&[(FeedKind::Nvd, all)])
}

/// The last two digits of the ids that hold, with the product and whether it is counted.
fn found(service: &Service) -> Vec<(String, String, bool)> {
    let weaknesses = Matcher::new(feeds()).matches(service).unwrap();
    let one = |found: &Match| {
        let id = found.id.get(13..).unwrap_or_default().to_owned();
        (id, format!("{} {}", found.product, found.version), found.confidence >= CONFIDENCE_COUNTED_MIN)
    };
    weaknesses.affected.iter().map(one).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_product_is_held_against_its_own_version() {
    for (product, version, headers, expected) in [
        ("Apache httpd", "2.4.62", &[("server", "Apache/2.4.62 (Unix) OpenSSL/3.0.16 PHP/8.4.2")][..], &[][..]),
        ("nginx", "1.26.1", &[("server", "nginx/1.26.1"), ("x-powered-by", "PHP/8.2.12")], &[]),
        (
            "nginx",
            "1.26.1",
            &[("server", "nginx/1.26.1"), ("x-powered-by", "PHP/5.6.40")],
            &[("11", "PHP 5.6.40", true)],
        ),
        ("Apache httpd", "2.4.62", &[("server", "Apache/2.4.62 (Unix) PHP/7.1.3")], &[("11", "PHP 7.1.3", true)]),
        (
            "Apache httpd",
            "2.4.41",
            &[("server", "Apache/2.4.41 (Unix) PHP/8.3.1")],
            &[("10", "Apache httpd 2.4.41", true)],
        ),
        ("Apache httpd", "", &[("server", "Apache OpenSSL/1.0.1t")], &[("12", "OpenSSL 1.0.1t", true)]),
        (
            "Apache httpd",
            "2.4.62",
            &[("server", "Apache/2.4.62 mod_ssl/2.4.62 OpenSSL/1.0.1t")],
            &[("12", "OpenSSL 1.0.1t", true)],
        ),
        ("", "", &[("x-powered-by", "PHP/5.3.3")], &[("11", "PHP 5.3.3", true)]),
        (
            "Apache httpd",
            "2.4.62",
            &[("server", "Apache/2.4.62 (Unix) mod_wsgi/4.9.4 Python/2.7.18")],
            &[("14", "Python 2.7.18", true)],
        ),
        (
            "Apache Tomcat",
            "",
            &[("server", "Apache-Coyote/1.1"), ("x-powered-by", "Servlet 3.0; (Apache Tomcat/7.0.40 Java/1.7)")],
            &[("15", "Apache Tomcat 7.0.40", true)],
        ),
        (
            "nginx",
            "1.26.1",
            &[("server", "nginx/1.26.1"), ("generator", "WordPress 5.8.2")],
            &[("16", "WordPress 5.8.2", true)],
        ),
        ("nginx", "1.26.1", &[("server", "nginx/1.26.1"), ("generator", "OpenSSL 1.0.1 tutorial")], &[]),
        (
            "nginx",
            "1.26.1",
            &[("server", "nginx/1.26.1 + Phusion Passenger 4.0.14")],
            &[("17", "Phusion Passenger 4.0.14", true)],
        ),
        ("Grafana", "10.4.2", &[("server", "nginx/1.18.0")], &[("13", "nginx 1.18.0", true)]),
        ("nginx", "", &[("server", "nginx")], &[]),
        (
            "nginx",
            "1.26.1",
            &[("server", "nginx/1.26.1 + Phusion Passenger(R) 4.0.14")],
            &[("17", "Phusion Passenger 4.0.14", true)],
        ),
        ("", "", &[("server", "iOS/12.1 AirTunes/220.68")], &[]),
        (
            "Apache Tomcat",
            "",
            &[
                ("server", "Apache-Coyote/1.1"),
                ("x-powered-by", "Servlet/3.1 JSP/2.3 (Apache Tomcat/8.0.53 Java/Oracle Corporation/1.8.0_181-b13)"),
            ],
            &[("15", "Apache Tomcat 8.0.53", true)],
        ),
        ("Tengine", "2.3.2", &[("server", "Tengine/2.3.2 nginx/1.16.1")], &[]),
        ("Oracle HTTP Server", "", &[("server", "Oracle-HTTP-Server/2.2.8 Apache/2.2.8")], &[]),
        (
            "nginx",
            "1.18.0",
            &[("server", "nginx/1.18.0 Apache/2.4.41")],
            &[("10", "Apache 2.4.41", true), ("13", "nginx 1.18.0", true)],
        ),
        ("iOS", "12.1", &[("server", "iOS/12.1 AirTunes/220.68")], &[]),
        (
            "WEBrick httpd",
            "1.4.2",
            &[("server", "WEBrick/1.4.2 (Ruby/2.6.6/2020-03-31) OpenSSL/1.0.1t")],
            &[("12", "OpenSSL 1.0.1t", true), ("18", "Ruby 2.6.6", true)],
        ),
        ("Apache httpd", "", &[("server", "Apache")], &[]),
    ] {
        let expected: Vec<(String, String, bool)> =
            expected.iter().map(|(id, what, counted)| ((*id).to_owned(), (*what).to_owned(), *counted)).collect();
        assert_eq!(found(&web(product, version, headers)), expected, "{headers:?}");
    }
}

#[test]
fn a_comment_names_what_is_there_and_not_what_it_speaks_of() {
    for (header, expected) in [
        ("Apache/2.4.62 (see PHP/5.2.4 docs)", &[][..]),
        ("Apache/2.4.62 (not PHP 5.2.4)", &[]),
        (
            "Apache/2.4.62 (Unix; PHP/5.2.4, Phusion Passenger 4.0.14)",
            &[("11", "PHP 5.2.4", true), ("17", "Phusion Passenger 4.0.14", true)],
        ),
    ] {
        let expected: Vec<(String, String, bool)> =
            expected.iter().map(|(id, what, counted)| ((*id).to_owned(), (*what).to_owned(), *counted)).collect();
        assert_eq!(found(&web("Apache httpd", "2.4.62", &[("server", header)])), expected, "{header}");
    }
}

#[test]
fn a_name_with_its_version_belongs_to_that_product_whatever_names_it() {
    let cpes = |names: &[&str], product: &str, version: &str| {
        let cpes = names.iter().map(|name| format!("cpe:2.3:a:{name}:*:*:*:*:*:*:*")).collect();
        Service { cpes, ..web(product, version, &[]) }
    };
    assert!(found(&cpes(&["f5:nginx:1.26.1", "php:php:8.2.1"], "nginx", "1.26.1")).is_empty());
    assert_eq!(found(&cpes(&["f5:nginx:1.26.1", "php:php:5.6.1"], "nginx", "1.26.1")).len(), 1);
    let named = Service {
        cpes: vec!["cpe:2.3:a:php:php:5.6.1:*:*:*:*:*:*:*".to_owned()],
        ..web("", "", &[("x-powered-by", "PHP/5.6.1")])
    };
    assert_eq!(
        found(&named),
        [("11".to_owned(), "PHP 5.6.1".to_owned(), true)],
        "a header names it better than the protocol"
    );
    // The server's own name without a version does not get that of another.
    assert!(found(&cpes(&["f5:nginx:*", "php:php:8.2.1"], "nginx", "")).is_empty());
    // Nor does another without a version get the server's.
    assert!(found(&cpes(&["f5:nginx:1.26.1", "php:php:*"], "nginx", "1.26.1")).is_empty());
    assert!(found(&cpes(&["frob:frobd:1.0", "php:php:*"], "Frobd", "1.0")).is_empty());
    assert_eq!(found(&cpes(&["apache:http_server:2.4.41"], "", "")).len(), 1);
}

#[test]
fn whoever_ships_the_server_ships_its_parts() {
    for (headers, version) in [
        (&[("server", "Apache/2.4.6 (CentOS) OpenSSL/1.0.1e-fips PHP/5.4.16")][..], "2.4.6"),
        (&[("server", "Apache/2.4.38 (Debian)"), ("x-powered-by", "PHP/7.3.31-1~deb10u1")], "2.4.38"),
        (&[("server", "Apache/2.2.16 (Debian) PHP/5.3.3-7+squeeze19")], "2.2.16"),
        (&[("server", "Apache/2.4.29"), ("x-powered-by", "PHP/7.2.24-0ubuntu0.18.04.17")], "2.4.62"),
        (&[("server", "Apache/2.4.62"), ("x-powered-by", "PHP/7.3.3-7")], "2.4.62"),
    ] {
        let all = found(&web("Apache httpd", version, headers));
        assert!(all.iter().any(|(id, _, _)| id == "11"), "{headers:?}: {all:?}");
        assert!(all.iter().all(|(_, _, is_counted)| !is_counted), "{headers:?}: {all:?}");
    }
    // The revision of one part is not that of another.
    let service = web(
        "Apache httpd",
        "2.4.52",
        &[("server", "Apache/2.4.52 (Ubuntu)"), ("x-powered-by", "PHP/8.1.2-1ubuntu2.14")],
    );
    let subjects = Subject::all_of(&service);
    let revisions: Vec<Option<&str>> = subjects
        .iter()
        .map(|subject| subject.distribution().and_then(|known| known.package_version.as_deref()))
        .collect();
    assert_eq!(revisions, [None, Some("8.1.2-1ubuntu2.14")]);
}

#[test]
fn what_stands_in_one_word_with_a_version_says_who_has_built_it() {
    use crate::finding::FACT_VERSION_TOLD;

    let told = |version: &str, whole: &str, info: Option<&str>| {
        let mut service = web("nginx", version, &[]);
        service.info = info.map(str::to_owned);
        service.facts.push((FACT_VERSION_TOLD.to_owned(), whole.to_owned()));
        service
    };
    for (version, whole, info) in [
        ("1.20.0", "1.20.0-RH", Some("RH")),
        ("1.20.0", "1.20.0-google", Some("google")),
        ("1.20.0", "1.20.0-azure-log", None),
        ("1.20.0", "1.20.0-9-enterprise", None),
        ("1.20.0", "1.20.0+deb12u3", None),
    ] {
        let all = found(&told(version, whole, info));
        assert_eq!(all, [("13".to_owned(), "nginx 1.20.0".to_owned(), false)], "{whole}");
    }
    // A word of another version is none of this one, and a build of the makers' stays counted.
    for whole in ["1.21.9-RH", "1.20.0-log", "1.20.0", "1.20.0-3123", "1.20.0-2d71af4"] {
        assert!(found(&told("1.20.0", whole, None)).iter().all(|(_, _, is_counted)| *is_counted), "{whole}");
    }
    let subject = &Subject::all_of(&told("9.11.5-P4", "9.11.5-P4-5.1+deb10u9-Debian", Some("5.1+deb10u9-Debian")))[0];
    let package = subject.distribution().and_then(|known| known.package_version.as_deref());
    assert_eq!(package, Some("9.11.5.P4-5.1+deb10u9"));
}

#[test]
fn a_server_that_says_who_has_built_it_is_counted_only_by_its_packages() {
    for comment in ["EuroLinux", "RED OS", "Virtuozzo Linux", "Linux/SLES", "AlmaLinux"] {
        let header = format!("Apache/2.4.37 ({comment}) OpenSSL/1.0.1");
        let all = found(&web("Apache httpd", "2.4.37", &[("server", &header)]));
        assert!(all.len() == 2 && all.iter().all(|(_, _, is_counted)| !is_counted), "{header}: {all:?}");
    }
    let all = found(&web("Apache httpd", "2.4.37", &[("server", "Apache/2.4.37 (Unix) OpenSSL/1.0.1")]));
    assert!(all.len() == 2 && all.iter().all(|(_, _, is_counted)| *is_counted), "{all:?}");
}

#[test]
fn another_servers_words_about_a_product_are_not_the_product() {
    for (header, value) in [
        ("server", "My nginx/1.2.3 Gateway"),
        ("generator", "Powered by nginx/1.2"),
        ("generator", "Built with PHP 5.2"),
        ("generator", "Theme for WordPress 4.1"),
    ] {
        assert!(found(&web("", "", &[(header, value)])).is_empty(), "{value}");
    }
    assert_eq!(found(&web("", "", &[("generator", "WordPress 6.1")])).len(), 1);
    assert_eq!(found(&web("", "", &[("server", "nginx/1.2.3")])).len(), 1);
}

#[test]
fn a_shortened_version_is_potential_at_most() {
    let potential = |version: &str, header: &str| found(&web("Apache httpd", version, &[("server", header)]));
    assert!(potential("2", "Apache/2").is_empty(), "a major version alone says nothing");
    for (version, header) in [
        ("2.4", "Apache/2.4"),
        ("2.4.x", "Apache/2.4.x"),
        ("2.4.xx", "Apache/2.4.xx"),
        ("2.4.", "Apache/2.4."),
        ("2.4.N", "Apache/2.4.N"),
        ("2.4.z-SNAPSHOT", "Apache/2.4.z-SNAPSHOT"),
        ("2.4.x.y", "Apache/2.4.x.y"),
        ("2.4.hidden", "Apache/2.4.hidden"),
        ("2.4.---", "Apache/2.4.---"),
    ] {
        let all = potential(version, header);
        assert_eq!(all, [("10".to_owned(), "Apache httpd 2.4".to_owned(), false)], "{header}");
    }
    let all = potential("2.4-mod", "Apache/2.4-mod");
    assert_eq!(all, [("10".to_owned(), "Apache httpd 2.4-mod".to_owned(), false)], "nobody knows that word");
    assert!(potential("2.5-mod", "Apache/2.5-mod").is_empty());
    assert!(
        potential("2.4.1-mod", "Apache/2.4.1-mod").iter().all(|(.., is_counted)| *is_counted),
        "three places are all"
    );
    assert!(found(&web("nginx", "1.2X", &[])).is_empty(), "1.20 is in, and 1.21 is not");
    assert_eq!(potential("2.2", "Apache/2.2"), [("10".to_owned(), "Apache httpd 2.2".to_owned(), true)]);
    assert!(potential("2.6", "Apache/2.6").is_empty());
    let found = Matcher::new(feeds()).weaknesses(&web("Apache httpd", "2.4", &[])).unwrap().remove(0);
    assert_eq!((found.confidence, &*found.method), (40, "version-range-shortened"));
    assert!(found.evidence.contains("Only the first places"), "{}", found.evidence);
}

#[test]
fn versions_with_the_day_of_their_build_are_those_of_the_release() {
    let jetty = |matches: serde_json::Value| store(&[nvd("CVE-1999-900020", json!([matches]))]);
    let is_found = |matches: serde_json::Value| {
        let service = web("Jetty", "9.4.48.v20220622", &[("server", "Jetty(9.4.48.v20220622)")]);
        !Matcher::new(jetty(matches)).weaknesses(&service).unwrap().is_empty()
    };
    let range = |end: &str, version: &str| json!({"vulnerable": true, "criteria": "cpe:2.3:a:eclipse:jetty:*:*:*:*:*:*:*:*", end: version});
    assert!(is_found(range("versionEndIncluding", "9.4.48")));
    assert!(!is_found(range("versionEndExcluding", "9.4.48")));
    assert!(is_found(range("versionEndExcluding", "9.4.49")));
    assert!(is_found(json!({"vulnerable": true, "criteria": "cpe:2.3:a:eclipse:jetty:9.4.48:20220622:*:*:*:*:*:*"})));
    assert!(!is_found(json!({"vulnerable": true, "criteria": "cpe:2.3:a:eclipse:jetty:9.4.47:*:*:*:*:*:*:*"})));
}

#[test]
fn products_that_are_vulnerable_together_only_are_not_counted_alone() {
    let both = json!({"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": "CVE-1999-900021", "configurations": [{"operator": "AND", "nodes": [
        {"operator": "OR", "cpeMatch": [{"vulnerable": true, "criteria": "cpe:2.3:a:php:php:*:*:*:*:*:*:*:*", "versionEndExcluding": "8.0"}]},
        {"operator": "OR", "cpeMatch": [{"vulnerable": true, "criteria": "cpe:2.3:a:frob:extension:*:*:*:*:*:*:*:*"}]}]}]}}]});
    let service = web("", "", &[("x-powered-by", "PHP/7.0.1")]);
    let found = Matcher::new(store(&[(FeedKind::Nvd, both)])).weaknesses(&service).unwrap();
    assert_eq!(found.iter().map(|found| found.method.as_str()).collect::<Vec<_>>(), ["version-range-platform"]);
}

/// The verdicts of a CVE record about PHP for versions that a server tells, by method; nothing where it does not hold.
fn of_php(product: &serde_json::Value, server: &str, versions: &[&str]) -> Vec<&'static str> {
    let mut feed = cve("CVE-1999-900022", "PHP Group", "PHP", json!([]));
    feed.1["containers"]["cna"]["affected"][0] = product.clone();
    let feed = store(&[feed]);
    let mut matcher = Matcher::new(feed);
    let mut of = |version: &&str| {
        let powered = format!("PHP/{version}");
        let service = web("Apache httpd", "2.4.62", &[("server", server), ("x-powered-by", &powered)]);
        let matches = matcher.matches(&service).unwrap();
        let first = matches.affected.first().map(|found| found.method.as_str());
        first.or(matches.indeterminate.first().map(|_| "indeterminate")).unwrap_or("-")
    };
    versions.iter().map(&mut of).collect()
}

#[test]
fn branches_that_are_listed_are_what_is_affected_whatever_the_default() {
    let versions = ["7.3.9", "8.0.11", "8.0.12", "8.1.3", "8.1.7", "8.2.1"];
    for start in ["8.0.*", "8.0.x", "8.0"] {
        for default in ["affected", "unaffected", "unknown"] {
            let product = json!({"vendor": "PHP Group", "product": "PHP", "defaultStatus": default, "versions": [
                {"version": start, "status": "affected", "lessThan": "8.0.12", "versionType": "semver"},
                {"version": "8.1.*", "status": "affected", "lessThan": "8.1.7", "versionType": "semver"}]});
            let older = if default == "affected" { "indeterminate" } else { "-" };
            let found = of_php(&product, "Apache/2.4.62", &versions);
            assert_eq!(found, [older, "version-range", "-", "version-range", "-", "-"], "{start} {default}");
        }
    }
}

#[test]
fn versions_beside_those_that_are_called_unaffected_are_affected_only_before_them() {
    let of = |unaffected: serde_json::Value| {
        let product =
            json!({"vendor": "PHP Group", "product": "PHP", "defaultStatus": "affected", "versions": unaffected});
        of_php(&product, "Apache/2.4.62", &["8.0.3", "8.1.20", "8.1.29", "8.2.3", "8.3.1"])
    };
    let single = |version: &str| json!({"version": version, "status": "unaffected"});
    let from = |version: &str, end: &str| json!({"version": version, "lessThan": end, "status": "unaffected"});
    let (inside, doubt) = ("version-range", "indeterminate");
    assert_eq!(of(json!([single("8.1.29")])), [inside, inside, "-", doubt, doubt]);
    assert_eq!(of(json!([single("8.1.29"), single("8.2.20")])), [inside, inside, "-", doubt, doubt]);
    assert_eq!(of(json!([from("8.1.29", "*")])), [inside, inside, "-", "-", "-"]);
    assert_eq!(of(json!([from("8.1.29", "8.2"), from("8.2.20", "8.3")])), [inside, inside, "-", inside, doubt]);
    assert_eq!(of(json!([])), [inside; 5]);
}

/// What was called affected in all versions: entries of which nothing can be read, beside a default that speaks for the rest.
#[test]
fn a_list_of_which_nothing_can_be_read_leaves_it_open_whatever_the_default() {
    let of = |versions: serde_json::Value| {
        let product =
            json!({"vendor": "PHP Group", "product": "PHP", "defaultStatus": "affected", "versions": versions});
        of_php(&product, "Apache/2.4.62", &["7.4.3", "8.3.1"])
    };
    for versions in [
        json!([{"version": "3f2a1b", "lessThan": "9c8d7e", "status": "affected", "versionType": "git"}]),
        json!([{"version": "8.1.0", "lessThan": "8.1.29"}]),
        json!([{"version": "n/a", "status": "affected"}]),
    ] {
        assert_eq!(of(versions.clone()), ["indeterminate"; 2], "{versions}");
    }
    assert_eq!(of(json!([])), ["version-range"; 2], "without a list the default speaks for all");
}

/// What was called affected: a version of the makers' against the revision of a package of the same version.
#[test]
fn a_version_without_a_revision_is_not_older_than_a_revision_of_it() {
    let product = json!({"vendor": "PHP Group", "product": "PHP", "versions": [
        {"version": "0", "lessThan": "8.1.29-1", "status": "affected", "versionType": "rpm"}]});
    assert_eq!(
        of_php(&product, "Apache/2.4.62", &["8.1.28", "8.1.29", "8.1.30"]),
        ["version-range", "indeterminate", "-"]
    );
}

#[test]
fn a_system_that_is_meant_is_asked_for() {
    let product = json!({"vendor": "PHP Group", "product": "PHP", "platforms": ["Windows"], "versions": [
        {"version": "8.0.*", "status": "affected", "lessThan": "8.0.12"}]});
    let of = |server: &str| of_php(&product, server, &["8.0.11"]);
    assert_eq!(of("Apache/2.4.62 (Win64)"), ["version-range"]);
    assert_eq!(of("Apache/2.4.62 (Unix)"), ["-"]);
    assert_eq!(of("Apache/2.4.62"), ["version-range-platform"]);
    let anywhere = json!({"vendor": "PHP Group", "product": "PHP", "platforms": ["Windows", "Linux", "MacOS"], "versions": [
        {"version": "8.0.0", "status": "affected", "lessThan": "8.0.12"}]});
    assert_eq!(of_php(&anywhere, "Apache/2.4.62", &["8.0.11"]), ["version-range"]);
}

#[test]
fn a_system_that_was_guessed_from_packets_rules_nothing_out() {
    let product = json!({"vendor": "PHP Group", "product": "PHP", "platforms": ["Windows"], "versions": [
        {"version": "8.0.*", "status": "affected", "lessThan": "8.0.12"}]});
    let mut feed = cve("CVE-1999-900024", "PHP Group", "PHP", json!([]));
    feed.1["containers"]["cna"]["affected"][0] = product;
    let of = |confidence: &str| {
        let told = [("os-confidence", confidence)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let service = web("", "", &[("x-powered-by", "PHP/8.0.11")]);
        let service = Service { os: Some("Linux".to_owned()), facts: told.to_vec(), ..service };
        let found = Matcher::new(store(std::slice::from_ref(&feed))).weaknesses(&service).unwrap();
        found.first().map(|found| found.method.clone())
    };
    assert_eq!(of("55").as_deref(), Some("version-range-platform"), "by a SYN-ACK");
    assert_eq!(of("70"), None, "by a word in a header");
}

#[test]
fn what_others_add_does_not_overrule_what_the_authority_says_of_the_same_product() {
    let mut feed = cve(
        "CVE-1999-900023",
        "PHP Group",
        "PHP",
        json!([{"version": "8.0.*", "lessThan": "8.0.12", "status": "affected"}]),
    );
    feed.1["containers"]["cna"]["affected"][0]["platforms"] = json!(["Windows"]);
    let applies = json!([{"nodes": [{"operator": "OR", "cpeMatch": [{"vulnerable": true, "criteria": "cpe:2.3:a:php:php:*:*:*:*:*:*:*:*", "versionEndExcluding": "8.0.12"}]}]}]);
    feed.1["containers"]["cna"]["cpeApplicability"] = applies;
    feed.1["containers"]["adp"] = json!([{"affected": [{"vendor": "php", "product": "php", "cpes": ["cpe:2.3:a:php:php:*:*:*:*:*:*:*:*"],
        "defaultStatus": "unknown", "versions": [{"version": "0", "lessThan": "8.0.12", "status": "affected"}]}]}]);
    let of = |version: &str| {
        let service = web("", "", &[("x-powered-by", &format!("PHP/{version}"))]);
        let found = Matcher::new(store(std::slice::from_ref(&feed))).weaknesses(&service).unwrap();
        found.first().map(|found| found.method.clone())
    };
    assert_eq!(of("8.0.3").as_deref(), Some("version-range-platform"));
    assert_eq!(of("7.4.3"), None);
    // Where the authority said nothing that can be read, others may.
    feed.1["containers"]["cna"]["affected"][0]["versions"] =
        json!([{"version": "see the advisory", "status": "affected"}]);
    feed.1["containers"]["cna"]["cpeApplicability"] = json!([]);
    let service = web("", "", &[("x-powered-by", "PHP/7.4.3")]);
    let found = Matcher::new(store(&[feed])).weaknesses(&service).unwrap();
    assert_eq!(found.first().map(|found| found.confidence), Some(80));
}

#[test]
fn packages_of_collections_are_not_the_programs_that_they_wrap() {
    let product = json!({"packageName": "php", "collectionURL": "https://registry.example", "versions": [
        {"version": "0", "status": "affected", "lessThan": "99"}]});
    assert_eq!(of_php(&product, "Apache/2.4.62", &["8.0.11"]), ["-"]);
}

#[test]
fn the_version_that_a_server_was_made_from_is_not_its_own() {
    let components = |server: &str| {
        let service = web("", "", &[("server", server)]);
        let all = component::components_of(&service, &[]);
        all.into_iter().map(|part| (part.name, part.version.unwrap_or_default())).collect::<Vec<_>>()
    };
    let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    assert!(components("IBM_HTTP_Server/8.5.5.0 Apache/2.2.8 (Win32)").is_empty());
    assert_eq!(components("Apache/2.2.8 (Win32)"), [named("Apache", "2.2.8")]);
    assert_eq!(
        components("IBM_HTTP_Server/8.5.5.0 Apache/2.2.8 PHP/5.2.4"),
        [named("PHP", "5.2.4")],
        "what it carries has its own"
    );
}
