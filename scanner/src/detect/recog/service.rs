//! What recog's parameters mean for a service's record.

use std::collections::BTreeMap;

use crate::detect::rules::{cpe_2_3, printable};
use crate::finding::{Service, ServiceMethod};

/// How sure a fingerprint is whose file does not say.
const CERTAINTY: f64 = 0.85;

/// Facts that are worth a line; the rest are details of how recog matches.
#[rustfmt::skip]
const FACTS: &[&str] = &[
    "service.component.vendor", "service.component.product", "service.component.version", "service.edition", "os.edition",
    "os.build", "os.arch", "hw.model", "hw.version", "hw.serial_number", "host.mac", "host.ip", "host.domain", "openssh.comment",
    "apache.info", "linux.kernel.version",
];

/// A service's record of what a fingerprint said; the kind of text goes into its rule.
pub(crate) fn to_service(kind: &str, name: &str, params: &BTreeMap<String, String>) -> Service {
    let of = |key: &str| {
        params.get(key).map(|value| printable(value.as_bytes())).filter(|value| !value.is_empty() && value != "-")
    };
    let joined = |keys: &[&str]| {
        let words: Vec<String> = keys.iter().filter_map(|key| of(key)).collect();
        (!words.is_empty()).then(|| words.join(" "))
    };
    let certainty = params.get("service.certainty").and_then(|text| text.parse().ok()).unwrap_or(CERTAINTY);
    let cpes = ["service.cpe23", "os.cpe23", "hw.cpe23", "service.component.cpe23"];
    let facts = FACTS.iter().filter_map(|key| Some(((*key).to_owned(), of(key)?)));
    Service {
        name: name.to_owned(),
        method: ServiceMethod::Probed,
        confidence: percent(certainty),
        product: of("service.product").or_else(|| of("service.family")),
        version: of("service.version"),
        info: of("openssh.comment").or_else(|| of("apache.info")),
        hostname: of("host.name"),
        os: match of("os.product") {
            Some(product) => Some(of("os.version").map_or(product.clone(), |version| format!("{product} {version}"))),
            None => of("os.family"),
        },
        device: of("hw.device").or_else(|| of("os.device")).map(|device| match joined(&["hw.vendor", "hw.product"]) {
            Some(model) => format!("{device} ({model})"),
            None => device,
        }),
        cpes: cpes.iter().filter_map(|key| cpe_2_3(params.get(*key)?)).collect(),
        rule: Some(format!("recog {kind}")),
        facts: facts.collect(),
        ..Service::default()
    }
}

fn percent(certainty: f64) -> u8 {
    // Steps of a hundredth, found by counting, since a float has no checked way to an integer.
    (0..=100u8).rev().find(|step| f64::from(*step) <= certainty * 100.0 + 1e-9).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_find_their_places() {
        let params: BTreeMap<String, String> = [
            ("service.product", "OpenSSH"),
            ("service.version", "9.2"),
            ("service.certainty", "0.29"),
            ("service.cpe23", "cpe:/a:openbsd:openssh:9.2"),
            ("os.product", "Linux"),
            ("os.version", "12"),
            ("os.cpe23", "cpe:/o:debian:debian_linux:-"),
            ("hw.device", "Switch"),
            ("hw.vendor", "Acme"),
            ("hw.product", "S\u{1b}1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let service = to_service("ssh.banner", "ssh", &params);
        assert_eq!((service.product.as_deref(), service.version.as_deref()), (Some("OpenSSH"), Some("9.2")));
        assert_eq!(
            (service.os.as_deref(), service.device.as_deref()),
            (Some("Linux 12"), Some("Switch (Acme S\u{fffd}1)"))
        );
        assert_eq!(service.confidence, 29);
        let expected = ["cpe:2.3:a:openbsd:openssh:9.2:*:*:*:*:*:*:*", "cpe:2.3:o:debian:debian_linux:-:*:*:*:*:*:*:*"];
        assert_eq!(service.cpes, expected);
    }
}
