//! Names read and written back, and each row of the standard's tables.

use proptest::prelude::*;

use super::*;

fn cpe(text: &str) -> Cpe {
    text.parse().unwrap()
}

/// A name that differs from others in its version only.
fn with_version(version: &str) -> Cpe {
    cpe(&format!("cpe:2.3:a:v:p:{version}:*:*:*:*:*:*:*"))
}

#[test]
fn names_are_read_with_their_escapes_and_written_back() {
    for text in [
        "cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*",
        r"cpe:2.3:a:hp:insight_diagnostics:7.4.0.1570:-:*:*:online:win2003:x64:*",
        r"cpe:2.3:a:foo\\bar:big\$money_manager_2010:*:*:*:*:special:ipod_touch:80gb:*",
        r"cpe:2.3:a:b:c\:d:8.\*:sp?:*:*:*:*:*:*",
        r"cpe:2.3:o:a:b:*1.0*:??x:*:*:*:*:*:*",
        r"cpe:2.3:a:b:\-:-:*:*:*:*:*:*:*",
    ] {
        assert_eq!(cpe(text).to_string(), text);
    }
    assert_eq!(cpe(r"cpe:2.3:a:b:c\:d:1:*:*:*:*:*:*:*").product().literal(), Some("c:d"));
    assert_eq!(
        cpe("CPE:2.3:A:OpenBSD:OpenSSH:9.2:P1:*:*:*:*:*:*"),
        cpe("cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*")
    );
}

#[test]
fn what_is_no_name_is_refused_with_the_reason() {
    let parse = |text: &str| text.parse::<Cpe>().unwrap_err();
    assert_eq!(parse("cpe:/a:b:c"), ParseError::Prefix);
    assert_eq!(parse("cpe:2.3:a:b:c:1:*:*:*"), ParseError::Fields { found: 7 });
    assert_eq!(parse("cpe:2.3:a:b:c:1:*:*:*:*:*:*:*:*"), ParseError::Fields { found: 12 });
    assert_eq!(parse("cpe:2.3:x:b:c:1:*:*:*:*:*:*:*"), ParseError::Part { part: "x".into() });
    for field in ["", "a*b", "a\\", "**", "?*"] {
        let text = format!("cpe:2.3:a:b:c:{field}:*:*:*:*:*:*:*");
        assert!(matches!(parse(&text), ParseError::Value { .. } | ParseError::Fields { .. }), "{field}");
    }
    assert_eq!(parse(&format!("cpe:2.3:a:{}", "b".repeat(CPE_BYTES_MAX))), ParseError::Text);
}

#[test]
fn each_row_of_the_attribute_table_holds() {
    use Relation::{Disjoint, Equal, Subset, Superset};
    for (pattern, name, relation) in [
        ("*", "*", Some(Equal)),
        ("*", "-", Some(Superset)),
        ("*", "1.0", Some(Superset)),
        ("*", "1.*", None),
        ("-", "*", Some(Subset)),
        ("-", "-", Some(Equal)),
        ("-", "1.0", Some(Disjoint)),
        ("-", "1.*", None),
        ("1.0", "1.0", Some(Equal)),
        ("1.0", "1.1", Some(Disjoint)),
        ("1.0", "1.*", None),
        ("1.0", "-", Some(Disjoint)),
        ("1.0", "*", Some(Subset)),
        ("1.*", "1.5", Some(Superset)),
        ("1.*", "2.5", Some(Disjoint)),
        ("1.*", "*", Some(Subset)),
        ("1.*", "-", Some(Disjoint)),
        ("1.*", "1.*", None),
        ("1.?", "1.5", Some(Superset)),
        ("1.?", "1.", Some(Superset)),
        ("1.?", "1.55", Some(Disjoint)),
        ("??.5", "1.5", Some(Superset)),
        ("*5", "1.55", Some(Superset)),
        (r"1.\*", "1.5", Some(Disjoint)),
    ] {
        assert_eq!(with_version(pattern).relation(&with_version(name)), relation, "{pattern} and {name}");
    }
}

#[test]
fn names_relate_as_their_attributes_do_together() {
    let whole = cpe("cpe:2.3:a:v:p:1.0:sp1:*:*:*:*:*:*");
    assert_eq!(cpe("cpe:2.3:a:v:p:*:*:*:*:*:*:*:*").relation(&whole), Some(Relation::Superset));
    assert_eq!(whole.relation(&cpe("cpe:2.3:a:v:p:*:*:*:*:*:*:*:*")), Some(Relation::Subset));
    assert_eq!(cpe("cpe:2.3:o:v:p:*:*:*:*:*:*:*:*").relation(&whole), Some(Relation::Disjoint));
    assert_eq!(cpe("cpe:2.3:a:v:p:1.0:sp1:de:*:*:*:*:*").relation(&whole), Some(Relation::Subset));
    // More in one attribute and less in another is neither.
    assert_eq!(cpe("cpe:2.3:a:v:p:*:sp1:de:*:*:*:*:*").relation(&whole), None);
    assert_eq!(cpe("cpe:2.3:a:v:p:2.0:-:*:*:*:*:*:*").product_relation(&whole), Some(Relation::Equal));
}

#[test]
fn a_name_that_escapes_make_too_long_is_refused() {
    let name = |signs: usize| format!("cpe:2.3:a:v:{}:*:*:*:*:*:*:*:*", "@".repeat(signs));
    assert!(name(990).len() <= CPE_BYTES_MAX);
    assert_eq!(name(990).parse::<Cpe>(), Err(ParseError::Text));
    let most = cpe(&name(490));
    assert_eq!(cpe(&most.to_string()), most);
}

#[test]
fn versions_and_updates_join_as_their_makers_write_them() {
    assert_eq!(cpe("cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*").full_version().as_deref(), Some("9.2p1"));
    assert_eq!(cpe("cpe:2.3:a:v:p:1.2:beta1:*:*:*:*:*:*").full_version().as_deref(), Some("1.2-beta1"));
    assert_eq!(cpe("cpe:2.3:a:v:p:1.2:-:*:*:*:*:*:*").full_version().as_deref(), Some("1.2"));
    assert_eq!(cpe("cpe:2.3:a:v:p:*:*:*:*:*:*:*:*").full_version(), None);
    assert_eq!(cpe("cpe:2.3:a:v:p:-:*:*:*:*:*:*:*").full_version(), None);
    assert_eq!(cpe("cpe:2.3:a:openbsd:openssh:*:*:*:*:*:*:*:*").product_key().as_deref(), Some("openbsd:openssh"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_is_written_back(
        fields in proptest::collection::vec(r"[a-c0-2.*?\\:_!-]{0,4}", 9..12),
        junk in "\\PC{0,40}",
    ) {
        let _refused_or_not = junk.parse::<Cpe>();
        if let Ok(name) = format!("cpe:2.3:a:{}", fields.join(":")).parse::<Cpe>() {
            prop_assert_eq!(&cpe(&name.to_string()), &name);
            let itself = name.relation(&name);
            prop_assert!(matches!(itself, None | Some(Relation::Equal)));
        }
    }
}
