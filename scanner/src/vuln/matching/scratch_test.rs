use super::tests::{cve, store};
use super::*;
use crate::finding::Http;
use crate::vuln::feed::FeedKind;
use serde_json::json;

fn web(product: &str, version: &str, headers: &[(&str, &str)]) -> Service {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
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

/// By the rules: what the program itself makes of an answer.
fn by_rules(head: &str) -> Service {
    use crate::detect::{Answer, Matcher as _, RuleSet};
    let bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n<title>x</title>").into_bytes();
    let rules = RuleSet::builtin();
    let probe = rules
        .probes(crate::port::Protocol::Tcp, 8080, false)
        .into_iter()
        .find(|p| p.payload.starts_with(b"GET / "))
        .map(|p| p.id);
    let found = rules.matches(&Answer {
        protocol: crate::port::Protocol::Tcp,
        port: 8080,
        is_tls: false,
        probe,
        bytes: &bytes,
    });
    let mut service = found.map(|f| f.service).unwrap_or_default();
    let parsed = crate::detect::http::read_head(&bytes).unwrap();
    service.http = Some(Box::new(Http {
        status: 200,
        server: parsed.get("server").map(str::to_owned),
        generator: parsed.get("x-powered-by").or(parsed.get("x-generator")).map(str::to_owned),
        headers: parsed.headers.clone(),
        ..Http::default()
    }));
    service
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
        below("CVE-1999-900019", "eclipse:jetty", "9.4.52"),
        below("CVE-1999-900020", "microsoft:internet_information_services", "8.0"),
        below("CVE-1999-900021", "perl:perl", "5.30.0"),
        below("CVE-1999-900022", "modwsgi:mod_wsgi", "4.9.3"),
        below("CVE-1999-900023", "gunicorn:gunicorn", "22.0.0"),
        below("CVE-1999-900024", "palletsprojects:werkzeug", "2.2.3"),
        below("CVE-1999-900025", "drupal:drupal", "9.0.0"),
        below("CVE-1999-900026", "lighttpd:lighttpd", "1.4.60"),
    ]});
    store(&[(FeedKind::Nvd, all)])
}

fn show(service: &Service) -> String {
    let found = Matcher::new(feeds()).matches(service).unwrap();
    let all: Vec<String> = found
        .affected
        .iter()
        .map(|f| format!("{}={} {}%{}", &f.id[12..], f.product, f.version, f.confidence))
        .collect();
    let doubt: Vec<String> = found.indeterminate.iter().map(|f| format!("{}?", &f.id[12..])).collect();
    format!("{:?} {:?} | {} | {}", service.product, service.version, all.join(", "), doubt.join(","))
}

#[test]
fn scratch_components() {
    for head in [
        "Server: Apache/2.4.62 (Debian) mod_fcgid/2.3.9 PHP/5.6.40-0+deb8u1",
        "Server: nginx/1.26.1 PHP/7.0.33",
        "Server: Microsoft-IIS/10.0\r\nX-Powered-By: ASP.NET, PHP/5.6.1",
        "Server: Microsoft-IIS/10.0\r\nX-Powered-By: PHP/5.6.1\r\nX-Powered-By: ASP.NET",
        "Server: Microsoft-IIS/10.0\r\nX-Powered-By: ASP.NET\r\nX-Powered-By: PHP/5.6.1",
        "Server: apache/2.4.62 openssl/1.0.1t",
        "Server: Apache/2.4.62 (Unix) OpenSSL/1.1.1k-FIPS",
        "Server: Apache/2.4.62 (Unix) OpenSSL 1.0.1t",
        "Server: Apache/2.4.62\r\nX-Powered-By: PHP/5.2.4-2ubuntu5.10 with Suhosin-Patch",
        "Server: Apache/2.4.62\r\nX-Powered-By: PHP 5.2.4",
        "Server: Apache/2.4.62 (Unix) PHP/5.2.4-dev",
        "Server: Apache/2.4.62 mod_perl/2.0.11 Perl/v5.16.3",
        "Server: Apache/2.4.62,PHP/5.2.4",
        "Server: Apache/2.4.62 PHP/5",
        "Server: Apache/2.4.62 PHP/7",
        "Server: Apache/2.4.62 PHP/8",
        "Server: Werkzeug/2.0.1 Python/3.6.9",
        "Server: Werkzeug/3.0.1 Python/3.11.2",
        "Server: gunicorn/19.9.0",
        "Server: SimpleHTTP/0.6 Python/2.7.18",
        "Server: BaseHTTP/0.6 Python/3.11.4",
        "Server: WSGIServer/0.2 CPython/3.6.9",
        "Server: Apache/2.4.62 (Win64) OpenSSL/1.0.1t PHP/8.3.1 mod_log_rotate/1.02",
        "Server: Apache-Coyote/1.1\r\nX-Powered-By: Servlet/3.1 JSP/2.3 (Apache Tomcat/8.0.53 Java/Oracle Corporation/1.8)",
        "Server: Apache Tomcat/8.0.53 (TomEE)/1.7.5 (1.7.5)",
        "Server: nginx/1.26.1\r\nX-Powered-By: Phusion Passenger(TM) 4.0.14",
        "Server: nginx + Phusion Passenger 4.0.14",
        "Server: Apache/2.4.62 (Ubuntu) PHP/5.2.4",
        "Server: Apache/2.2.99 Oracle-HTTP-Server",
        "Server: Oracle-HTTP-Server/2.2.8 Apache/2.2.8",
        "Server: Apache (Debian) PHP/5.2.4",
        "Server: Apache/PHP/5.2.4",
        "Server: Jetty(9.4.51.v20230217)",
        "Server: Jetty(9.4.z-SNAPSHOT)",
        "Server: Jetty/9.4.51",
        "Server: Jetty(10.0.1)",
        "Server: lighttpd/1.4.35-devel-1.4.35",
        "Server: lighttpd/1.4.76",
        "Server: nginx/1.26.1\r\nX-Generator: Drupal 8 (https://www.drupal.org)",
        "Server: nginx/1.26.1\r\nX-Generator: WordPress 5.8.2; features: x",
        "Server: nginx/1.18.0 (Ubuntu)",
        "Server: openresty/1.15.8.2",
        "Server: nginx/1.18.0-tengine",
        "Server: Tengine/2.3.2 nginx/1.16.1",
        "Server: Apache/2.4.62 mod_ssl/2.4.62 OpenSSL/3.0.2 mod_jk/1.2.46 PHP/8.1.0 mod_perl/2.0.12 Perl/v5.34.1",
        "Server: Apache/1.3.41 (Unix) PHP/4.4.9 mod_ssl/2.8.31 OpenSSL/0.9.8e",
        "Server: Zope/(2.13.26, python 2.7.9, linux2) ZServer/1.1",
        "Server: TornadoServer/4.5.3",
        "Server: nginx/1.26.1\r\nX-Powered-By: PHP/8.3.4, PHP/5.2.4",
        "Server: nginx/1.26.1\r\nX-Powered-By: PHP/8.3.4\r\nX-Powered-By: PHP/5.2.4",
        "Server: nginx/1.26.1\r\nX-Powered-By: \"PHP/5.2.4\"",
        "Server: nginx/1.26.1\r\nX-Powered-By: PHP=5.2.4",
        "Server: nginx/1.26.1\r\nX-Powered-By: HHVM/3.15.0\r\nX-PHP-Version: 5.2.4",
        "Server: Apache/2.4.62 PHP-CGI/5.2.4",
        "Server: Apache/2.4.62 mod_php/5.2.4",
        "Server: Apache/2.4.62 mod_php5/5.2.4",
        "Server: Apache/2.4.62 Phusion_Passenger/4.0.14",
        "Server: Apache/2.4.62 mod_wsgi/4.5.0 Python/3.11",
        "Server: Apache/2.4.62 mod_python/3.3.1 Python/2.7",
        "Server: WEBrick/1.3.1 (Ruby/2.3.8/2018-10-18)",
        "Server: Puma 3.12.0 (Ruby 2.3.8)",
        "Server: Apache/2.4.",
        "Server: Apache/2.4.x PHP/5.x",
        "Server: Apache/2 mod_x/1",
        "Server: nginx/1",
        "Server: nginx/1.x",
        "Server: nginx/1.20",
        "Server: nginx/1.26",
        "Server: Apache/2.4-mod",
        "Server: Apache/2.4.62-1",
        "Server: Apache/2.4.37 (Red Hat Enterprise Linux) OpenSSL/1.1.1k",
        "Server: Apache/2.4.6 (Red Hat)",
        "Server: Apache/2.4.37 (rocky) OpenSSL/1.1.1k mod_fcgid/2.3.9",
        "Server: Apache/2.4.53 (AlmaLinux)",
        "Server: Apache/2.4.53 (Fedora Linux)",
        "Server: Apache/2.4.53 (Amazon Linux)",
        "Server: Apache/2.4.53 (Raspbian)",
        "Server: Apache/2.4.53 (FreeBSD)",
        "Server: Apache/2.4.53 (cPanel)",
    ] {
        println!("{head:?}\n    -> {}", show(&by_rules(head)));
    }
}

#[test]
fn scratch_shortened() {
    for (product, version) in [
        ("Apache httpd", "2"),
        ("Apache httpd", "2.4"),
        ("Apache httpd", "2.4.x"),
        ("Apache httpd", "2.2"),
        ("Apache httpd", "2.2.x"),
        ("Apache httpd", "2.x"),
        ("Apache httpd", "1.3.x"),
        ("Apache httpd", "v2.4.1"),
        ("Apache httpd", "2.4.1 "),
        ("Apache httpd", "2.4.01"),
        ("Apache httpd", "2.4.1_2"),
        ("Apache httpd", "2.4.54-beta"),
        ("Apache httpd", "2.4.55-dev"),
        ("Apache httpd", "2.4.55rc1"),
        ("Apache httpd", "2,4,1"),
        ("Apache httpd", "2.4.*"),
        ("Apache httpd", "2.4.1..."),
        ("Apache httpd", "2.4.??"),
        ("Apache httpd", "2.4.1/patched"),
        ("Apache httpd", "2.4.1+git"),
        ("Apache httpd", "2.4.54.1"),
        ("Apache httpd", "2.4.[hidden]"),
        ("Apache httpd", "2.4.hidden"),
        ("Apache httpd", "2.4.n/a"),
        ("Apache httpd", "2.4.XX"),
        ("Apache httpd", "2.#.#"),
        ("Apache httpd", "2.4.---"),
        ("nginx", "1"),
        ("nginx", "1.20"),
        ("nginx", "1.x.x"),
        ("nginx", "1.2X"),
        ("nginx", "1.18.0.1"),
        ("nginx", "0"),
        ("nginx", "0.x"),
        ("PHP", "5"),
        ("PHP", "7"),
        ("PHP", "7.4"),
        ("PHP", "7.4.x"),
        ("PHP", "8"),
        ("PHP", "7.4.3-4ubuntu2.18"),
        ("PHP", "5.x"),
        ("OpenSSL", "1"),
        ("OpenSSL", "1.0"),
        ("OpenSSL", "1.0.1"),
        ("OpenSSL", "1.0.x"),
        ("OpenSSL", "0.9.8"),
        ("OpenSSL", "3"),
        ("OpenSSL", "1.0.1e-fips"),
        ("OpenSSL", "1.0.1x"),
        ("Jetty", "9"),
        ("Jetty", "9.4"),
        ("Jetty", "9.4.z"),
        ("Jetty", "9.4.x"),
        ("Jetty", "9.4.51"),
        ("Jetty", "9.4.51.v2023"),
        ("Jetty", "9.4.51.v20230217"),
        ("Jetty", "9.4.52-SNAPSHOT"),
        ("Apache Tomcat", "8"),
        ("Apache Tomcat", "8.5"),
        ("Apache Tomcat", "8.0"),
        ("Apache Tomcat", "8.5.x"),
        ("Apache Tomcat", "9"),
        ("Apache Tomcat", "8.5.90-dev"),
        ("Apache Tomcat", "8.5.89.redhat-1"),
    ] {
        println!("{product} {version:?} -> {}", show(&web(product, version, &[])));
    }
}
