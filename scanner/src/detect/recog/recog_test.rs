//! The reader on a small directory of our own: every feature of the format once, and every way to be malformed.

use super::*;

const SSH: &str = r#"<?xml version='1.0' encoding='UTF-8'?>
<!-- A fixture of our own. -->
<fingerprints matches="ssh.banner" protocol="ssh" preference="0.9" novelty="1">
  <fingerprint pattern="^Acme_SSHD_([\d.]+)(?: build-(\h+))?$" flags="REG_ICASE" author="x">
    <description>Acme &amp; sons</description>
    <example service.version="1.2" acme.build="0aF">acme_sshd_1.2 build-0aF</example>
    <example _encoding="base64" service.version="3">QWNtZV9T
      U0hEXzM=</example>
    <example _filename="banner.txt" service.version="4.0"/>
    <param pos="0" name="service.product" value="Acme SSHD"/>
    <param pos="1" name="service.version"/>
    <param pos="2" name="acme.build"/>
    <param pos="2" name="_tmp.build"/>
    <param pos="0" name="service.cpe23" value="cpe:/a:acme:sshd:{service.version}:{acme.build}"/>
    <param pos="0" name="acme.label" value="build {_tmp.build}"/>
    <note unknown="yes"><deeper/></note>
  </fingerprint>
  <fingerprint pattern="^Look(?!ahead)"><param pos="0" name="service.product" value="never"/></fingerprint>
</fingerprints>"#;

const TITLES: &str = "<fingerprints>
  <fingerprint pattern=\"^Plant (?m:.*)end\\Z\" flags=\"REG_MULTILINE,REG_ICASE\">
    <example><![CDATA[PLANT <1>\nx END]]></example>
    <example>plant &lt;&#x41;&gt; end\n</example>
    <param pos=\"0\" name=\"hw.device\" value=\"Pump\"/>
  </fingerprint>
  <fingerprint pattern=\"^second$\"><example>first\nsecond\nthird</example><param pos=\"0\" name=\"a\" value=\"{b\"/></fingerprint>
</fingerprints>";

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

#[test]
fn every_feature_of_the_format_is_read() {
    let files =
        [("ssh.xml", SSH), ("ssh/banner.txt", "acme_sshd_4.0"), ("page_title.xml", TITLES), ("notes.txt", "no")];
    let directory = directory(&files);
    let checked = check_examples(directory.path()).unwrap();
    assert_eq!(checked.problems, Vec::<String>::new());
    assert_eq!((checked.files, checked.fingerprints, checked.examples, checked.examples_right), (2, 4, 6, 6));
    assert_eq!((checked.attributes, checked.attributes_right, checked.first), (4, 4, 6));

    let recog = Recog::load(directory.path()).unwrap();
    assert_eq!(recog.kinds().collect::<Vec<_>>(), ["page_title", "ssh.banner"]);
    assert_eq!((recog.len(), recog.skipped().len(), recog.skipped()[0].line), (3, 1, 18));
    let found = recog.matches("ssh.banner", b"Acme_SSHD_7").unwrap();
    assert_eq!(found["service.cpe23"], "cpe:/a:acme:sshd:7:-", "what is not there is not applicable");
    assert_eq!(found["service.protocol"], "ssh");
    assert!(!found.contains_key("acme.label") && !found.contains_key("_tmp.build"));
    assert_eq!(recog.matches("page_title", b"second").unwrap()["a"], "{b");
    assert_eq!(recog.matches("page_title", b"Acme_SSHD_7"), None);
    assert_eq!(recog.matches("no.such.kind", b"second"), None);
}

#[test]
fn an_example_that_does_not_match_is_named_with_its_line() {
    let wrong =
        SSH.replace("service.version=\"1.2\"", "service.version=\"9\"").replace("acme_sshd_1.2", "\nacme_sshd_1.2");
    let directory = directory(&[("ssh.xml", &wrong)]);
    let checked = check_examples(directory.path()).unwrap();
    assert_eq!(checked.examples_right, 1);
    assert!(
        checked.problems[0].starts_with("ssh.xml:6: service.version is Some(\"1.2\"), the example says \"9\""),
        "{checked:?}"
    );
    assert!(checked.problems[1].starts_with("ssh.xml:10: cannot read"), "{checked:?}");
}

#[test]
fn the_preferred_file_of_a_kind_is_asked_first() {
    let file = |preference: &str, product: &str| {
        format!(
            "<fingerprints matches='k' preference='{preference}'><fingerprint pattern='^x'><param pos='0' name='p' value='{product}'/></fingerprint></fingerprints>"
        )
    };
    let directory = directory(&[("a.xml", &file(".2", "low")), ("b.xml", &file("0.90", "high"))]);
    assert_eq!(Recog::load(directory.path()).unwrap().matches("k", b"xy").unwrap()["p"], "high");
}

#[test]
fn what_is_wrong_is_said_with_file_and_line() {
    for (text, line, words) in [
        ("<fingerprints>\n<fingerprint>\n</fingerprint></fingerprints>", 2, "without a pattern"),
        ("<fingerprints>\n<fingerprint pattern='a'>\n<param pos='x' name='n'/></fingerprint></fingerprints>", 3, "pos"),
        (
            "<fingerprints>\n<fingerprint pattern='a'>\n<param pos='1'/></fingerprint></fingerprints>",
            3,
            "without a name",
        ),
        ("<fingerprints>\n<fingerprint pattern='a'>", 2, "inside an element"),
        ("<fingerprints>\n\n</fingerprint>", 3, "fingerprint"),
        (
            "<!DOCTYPE a [<!ENTITY b 'c'>]>\n<fingerprints><fingerprint pattern='a'>\n<example>&b;</example></fingerprint></fingerprints>",
            3,
            "&b;",
        ),
        ("<fingerprints>\n<fingerprint pattern='a' pattern='b'/></fingerprints>", 2, "duplicate"),
    ] {
        let directory = directory(&[("bad.xml", text)]);
        match Recog::load(directory.path()) {
            Err(RecogError::Malformed { path, line: at, problem }) => {
                assert!(path.ends_with("bad.xml"));
                assert_eq!(at, line, "{text}: {problem}");
                assert!(problem.contains(words), "{text}: {problem}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let deep = format!("<fingerprints>{}", "<a>".repeat(50));
    assert!(matches!(Recog::load(directory(&[("a.xml", &deep)]).path()), Err(RecogError::Malformed { .. })));
    assert!(matches!(Recog::load(directory(&[("a.xml", "<other/>")]).path()), Err(RecogError::Empty(_))));
    assert!(matches!(Recog::load(directory(&[]).path()), Err(RecogError::Empty(_))));
    assert!(matches!(Recog::load(Path::new("no/such/directory")), Err(RecogError::Read { .. })));
}

#[test]
fn parameters_that_name_each_other_do_not_grow_without_bound() {
    let doubled: String =
        (1..40).map(|n| format!("<param pos='0' name='p{n}' value='{{p{}}}{{p{}}}'/>", n - 1, n - 1)).collect();
    let text = format!(
        "<fingerprints matches='k'><fingerprint pattern='^(.+)$'><param pos='1' name='p0'/>{doubled}\
         <param pos='0' name='service.product' value='x {{p1}}'/></fingerprint></fingerprints>"
    );
    // Forty doublings of one byte are a terabyte.
    let told = Recog::of_files([("a.xml", text.as_str())]).unwrap().matches("k", b"y").unwrap();
    assert_eq!(told.get("service.product").map(String::as_str), Some("x yy"));
    assert!(told.contains_key("p14") && !told.contains_key("p15"), "left out from 16 KiB on");
}

#[test]
fn lines_are_counted_on_where_many_fingerprints_are() {
    // Each of these once counted all lines before it.
    let text = format!(
        "<fingerprints>{}\n<fingerprint/></fingerprints>",
        "\n\n\n\n<fingerprint pattern='a'/>".repeat(100_000)
    );
    match Recog::of_files([("a.xml", text.as_str())]) {
        Err(RecogError::Malformed { line, .. }) => assert_eq!(line, 400_002),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_beyond_any_real_size_is_refused() {
    let directory = directory(&[]);
    let file = std::fs::File::create(directory.path().join("big.xml")).unwrap();
    file.set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(matches!(Recog::load(directory.path()), Err(RecogError::TooMuch { .. })));
}
