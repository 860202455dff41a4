//! Tests of target sets: what is read, what is refused and where, and the laws of the index space.

use std::net::IpAddr;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> TargetSet {
    parse_targets(text, "test").unwrap()
}

fn problem(text: &str) -> TargetProblem {
    match parse_targets(text, "test").unwrap_err() {
        TargetError::Token { problem, .. } | TargetError::Set { problem } => problem,
    }
}

fn all(set: &TargetSet) -> Vec<String> {
    (0..set.count())
        .map(|index| match set.get(index).unwrap() {
            Target::Address(address) => address.to_string(),
            Target::Name(name) => name.to_owned(),
        })
        .collect()
}

#[test]
fn every_written_form_gives_its_addresses() {
    assert_eq!(all(&parse("10.0.0.6/30")), ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"]);
    assert_eq!(all(&parse("10.0.0.254-10.0.1.1")), ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]);
    assert_eq!(all(&parse("10.0.0.1-3")), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(all(&parse("10.0-1.7-8.1")), ["10.0.7.1", "10.0.8.1", "10.1.7.1", "10.1.8.1"]);
    assert_eq!(parse("10.0-3.1-254.*").count(), 4 * 254 * 256);
    assert_eq!(parse("10.0-3.1-254.*").ranges().count(), 4);
    assert_eq!(parse("10.*.*.*"), parse("10.0.0.0/8"));
    assert_eq!(parse("*.*.*.*"), parse("0.0.0.0/0"));
    assert_eq!(all(&parse("2001:db8::1-2001:db8::2,::1/128")), ["::1", "2001:db8::1", "2001:db8::2"]);
    assert_eq!(all(&parse("Web-1.Example.COM. localhost")), ["localhost", "web-1.example.com"]);
}

#[test]
fn text_may_have_comments_blank_lines_commas_and_any_line_ends() {
    let text = "\u{feff}10.0.0.1, 10.0.0.2\t10.0.0.3 # the routers, all of them\r\n\n# nothing 10.9.9.9\n,,10.0.0.4\n";
    assert_eq!(all(&parse(text)), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    assert!(parse("# only a comment").is_empty());
}

#[test]
fn addresses_are_counted_once_and_ordered_by_family_then_value() {
    let set = parse("host.example ::1 10.0.0.2 10.0.0.1-10.0.0.2 ::ffff:10.0.0.1 HOST.example");
    assert_eq!(all(&set), ["10.0.0.1", "10.0.0.2", "::1", "host.example"]);
    assert_eq!((set.address_count(), set.name_count()), (3, 1));
    assert!(set.contains_name("Host.Example.") && !set.contains_name("other.example"));
}

#[test]
fn errors_name_the_place_the_token_and_the_reason() {
    let error = parse_targets("10.0.0.1\n  10.0.0.2, 10.0.0.300 # x", "hosts.txt").unwrap_err();
    assert_eq!(
        error.to_string(),
        "hosts.txt:2:13: \"10.0.0.300\": \"300\" is not a number from 0 to 255 or a range of them"
    );
    let error = parse_targets("grün.example", "t").unwrap_err();
    assert!(error.to_string().starts_with("t:1:1: \"grün.example\": not an address"), "{error}");
    let error = parse_targets("\x1b[2J", "t").unwrap_err();
    assert!(!error.to_string().contains('\x1b'), "a token never reaches a terminal unescaped");
}

#[test]
fn each_slip_is_refused_with_its_own_problem() {
    use TargetProblem as P;
    assert!(matches!(problem("10.0.0.256"), P::Octet { .. }));
    assert!(matches!(problem("10.0.0."), P::Octet { .. }));
    assert!(matches!(problem("10.0.0.+1"), P::Name { .. }));
    for octal in ["10.0.0.010", "10.0.0.0/010", "fd00::/064", "fd00::/00"] {
        assert!(matches!(problem(octal), P::LeadingZero { .. }), "{octal}");
    }
    assert!(matches!(problem("10.0.0"), P::Parts { parts: 3 }));
    assert!(matches!(problem("1.2.3.4.5"), P::Parts { parts: 5 }));
    assert!(matches!(problem("10.0.0.0/33"), P::Prefix { max: 32, .. }));
    assert!(matches!(problem("10.0.0.0/"), P::Prefix { .. }));
    assert!(matches!(problem("::/129"), P::Prefix { max: 128, .. }));
    assert!(matches!(problem("10.0-3.0.0/16"), P::PrefixOfRange));
    assert!(matches!(problem("10.0.0.9-3"), P::Backwards));
    assert!(matches!(problem("10.0.0.9-10.0.0.3"), P::Backwards));
    assert!(matches!(problem("::2-::1"), P::Backwards));
    assert!(matches!(problem("fd00::1%lo"), P::Zone));
    assert!(matches!(problem("fe80::1%nosuch0"), P::UnknownZone { .. }));
    assert!(matches!(problem("fe80:1::1"), P::V6 { .. }), "no index of an interface is typed");
    assert!(matches!(problem("fe80::1"), P::NoZone { .. }) && matches!(problem("fe80::/64"), P::NoZone { .. }));
    assert!(matches!(problem("fe80::1%lo-fe80::9%1"), P::ZoneRange) && matches!(problem("fe80::%lo/32"), P::ZoneRange));
    assert!(matches!(problem("2001:db8:::1"), P::V6 { .. }));
    assert!(matches!(problem("::1-10.0.0.1"), P::V6 { .. }));
    assert!(matches!(problem("http://host/"), P::NotAlone));
    assert!(matches!(problem("host:80"), P::NotAlone));
    assert!(matches!(problem("10.0.0.1:80"), P::NotAlone));
    assert!(matches!(problem("[::1]:80"), P::NotAlone));
    assert!(matches!(problem("host/24"), P::NotAlone));
    assert!(matches!(problem("-host"), P::Name { .. }));
    assert!(matches!(problem("a..b"), P::Name { .. }));
    assert!(matches!(problem("host.123"), P::EndsInNumber));
    assert!(matches!(problem("10.0.0.1 - 10.0.0.9"), P::LoneDash));
    assert!(matches!(problem("web\u{2013}1.example"), P::Name { .. }));
    assert!(matches!(problem(&"a".repeat(64)), P::Name { .. }));
    assert!(matches!(problem(&"a.".repeat(200)), P::TooLong));
}

#[test]
fn a_mask_behind_an_address_is_never_another_address() {
    for text in [
        "10.99.0.0 255.255.255.0",
        "10.99.0.0,255.255.255.0",
        "10.99.0.0\t0.0.0.255",
        "10.99.0.0 0.0.255.255",
        "10.99.0.0 0.0.0.254",
        "10.99.0.0 128.0.0.0",
        "10.99.0.0/24 255.255.255.0",
        "printer 255.255.255.0",
        "0.0.0.0 255.255.255.255",
        "0.0.0.0 0.0.0.0",
        "range = 10.99.0.0 255.255.255.0",
        "exclude = 10.99.0.0 255.255.255.0",
        "fd00:99:: ffff:ffff:ffff::",
    ] {
        assert!(matches!(problem(text), TargetProblem::Mask), "{text}");
        let excluded = TargetSet::builder().add_exclusions(text, "x");
        assert!(excluded.is_err(), "{text}");
    }
    for text in ["10.99.0.1 to 10.99.0.9", "10.99.0.0 netmask 255.255.255.0", "fd00::1 BIS fd00::9"] {
        assert!(matches!(problem(text), TargetProblem::Joined { .. }), "{text}");
    }
    let error = parse_targets("10.1.0.1\n  10.99.0.0 255.255.255.0", "list").unwrap_err().to_string();
    assert!(error.starts_with("list:2:13: \"255.255.255.0\": a mask behind an address: write"), "{error}");
    // A list whose words were cut at the blank.
    let mut cut = TargetSet::builder();
    cut.add_exclusions("10.99.0.0", "exclude").unwrap();
    assert!(cut.add_exclusions("255.255.255.0", "exclude").unwrap_err().to_string().contains("a mask behind"));
    // What is one address in either reading, and what is on a line of its own.
    for text in [
        "10.0.0.1,255.255.255.255",
        "0.0.0.0\n255.255.255.255",
        "10.0.0.1\n255.255.255.0",
        "10.0.0.1 255.255.255.0/32",
        "10.0.0.1 0.0.0.0/8",
        "10.0.0.1 255.255.255.0-255.255.255.9",
        "10.0.0.1 to",
        "to 10.0.0.1",
        "10.0.0.1 localhost 10.0.0.2",
    ] {
        parse(text);
    }
    let printed = parse("0.0.0.0\n0.0.0.9\n254.0.0.0\n255.255.255.255\nffff::").to_string();
    assert_eq!(parse(&printed).to_string(), printed);
}

#[test]
fn addresses_with_something_else_between_them_are_no_number_of_a_resolver() {
    for text in ["10.77.0.3;10.77.0.4", "10.77.0.3|10.77.0.4"] {
        assert!(matches!(problem(text), TargetProblem::Name { .. }), "{text}: {}", problem(text));
    }
}

#[test]
fn what_a_resolver_would_make_an_address_of_is_refused_and_names_that_begin_so_are_names() {
    for number in [
        "0x7f000001",
        "0X0A4D0002",
        "0xa4d0002",
        "0x0a4d0002.",
        "10.77.0.0x2",
        "0x0a.77.0.0x2",
        "0x7f.0x1",
        "0x0a4d.0x2",
        "0x",
        "web.0x",
        "0x0a4d0002-0x0a4d0005",
        "10.0.0.0x1-5",
        "0x0a4d0002/24",
    ] {
        assert!(matches!(problem(number), TargetProblem::EndsInNumber), "{number}");
        let mut excluded = TargetSet::builder();
        let error = excluded.add_exclusions(&format!("10.0.0.1\n {number}"), "never.txt").unwrap_err().to_string();
        assert!(error.starts_with(&format!("never.txt:2:2: \"{number}\": ")), "{error}");
    }
    // As before, the address parser has these.
    for number in ["0x7f000001..", "0x7f.1", "127.1", "2130706433", "017700000001", "010.77.0.2", "10.77.0.2.", "1."] {
        parse_targets(number, "t").unwrap_err();
    }
    let names = "0xdead.example.org,0xg,web-0xfe,x0x7f";
    assert_eq!(parse(names).to_string(), names);
}

#[test]
fn dashes_set_by_a_text_program_make_ranges_of_addresses() {
    assert_eq!(parse("10.0.0.1\u{2013}10.0.0.4 10.0.1.1\u{2010}4").to_string(), "10.0.0.1-10.0.0.4,10.0.1.1-10.0.1.4");
    assert_eq!(parse("fd77::1\u{2014}fd77::4").to_string(), "fd77::1-fd77::4");
}

#[test]
fn of_masscans_configuration_ranges_and_exclusions_are_read_and_nothing_is_passed_over() {
    let lines = "range = 10.0.0.0/24,10.0.2.0-10.0.2.9 # both\nRange=10.0.1.1\nexclude = 10.0.0.0/25, 10.0.2.5\n";
    assert_eq!(parse(lines).to_string(), "10.0.0.128/25,10.0.1.1,10.0.2.0-10.0.2.4,10.0.2.6-10.0.2.9");
    let mut builder = TargetSet::builder();
    builder.add_text(lines, "conf").unwrap();
    assert_eq!(builder.take_excluded().unwrap().to_string(), "10.0.0.0/25,10.0.2.5");
    assert_eq!(builder.build().unwrap().count(), 256 + 10 + 1, "what was taken is the caller's to leave out");

    let excluded = |text: &str| {
        let mut builder = TargetSet::builder();
        builder.add_exclusions(text, "never.txt").map_err(|error| error.to_string())?;
        builder.build().map_err(|error| error.to_string())
    };
    assert_eq!(excluded("10.0.0.1-10.0.0.9,10.0.3.1\n# x\nexclude = 10.0.4.0/24\n").unwrap().count(), 9 + 1 + 256);
    assert!(excluded("10.0.0.1\n\trange = 10.0.0.1").unwrap_err().starts_with("never.txt:2:2: \"range\": "));
    assert!(matches!(problem("exclude-file = no-dod.txt"), TargetProblem::KeyOfFile));
    assert!(matches!(problem("ports = 20-25"), TargetProblem::Key));
    assert!(matches!(problem("exclude = 10.0.0.300"), TargetProblem::Octet { .. }));
}

#[test]
fn sets_beyond_the_limits_are_refused_before_they_take_memory() {
    assert!(matches!(problem("0-255.0-255.0-255.1"), TargetProblem::TooManyRanges { ranges: 16_777_216 }));
    assert!(matches!(problem("::/0"), TargetProblem::TooManyTargets));
    assert!(matches!(problem("2001:db8::/64"), TargetProblem::TooManyTargets), "2^64 is one more than u64::MAX");
    assert_eq!(parse("2001:db8::/65").count(), 1 << 63);
    assert!(matches!(problem("2001:db8::/65 2001:db9::/65"), TargetProblem::TooManyTargets));
    assert!(problem("::/0").to_string().contains("18446744073709551615"));
}

#[test]
fn exclusions_take_addresses_and_names_out_before_indexing() {
    let set = parse("10.0.0.0/29 a.example b.example").exclude(&parse("10.0.0.2-10.0.0.5 B.example"));
    assert_eq!(all(&set), ["10.0.0.0", "10.0.0.1", "10.0.0.6", "10.0.0.7", "a.example"]);
    assert!(!set.contains("10.0.0.3".parse().unwrap()));
    assert!(!set.contains("::ffff:10.0.0.3".parse().unwrap()));
}

#[test]
fn networks_part_a_set_in_two() {
    let set = parse("10.0.0.0/8 2001:db8::/120 name.example");
    let nets = ["10.1.0.0/16".parse().unwrap(), "2001:db8::80/121".parse().unwrap()];
    let (inside, outside) = (set.intersect_nets(&nets), set.subtract_nets(&nets));
    assert_eq!(inside.to_string(), "10.1.0.0/16,2001:db8::80/121");
    assert_eq!(inside.count() + outside.count(), set.count());
    assert_eq!(outside.name_count(), 1);
}

#[test]
fn a_slash_eight_is_planned_at_the_cost_of_one_range() {
    let start = Instant::now();
    let set = parse("10.0.0.0/8").exclude(&parse("10.1.0.0/16"));
    let took = start.elapsed();
    assert_eq!((set.count(), set.ranges().count()), ((1 << 24) - (1 << 16), 2));
    println!("10.0.0.0/8 minus 10.1.0.0/16 planned in {took:?}");
}

#[test]
fn a_damaged_encoding_is_refused() {
    let read = |json: &str| serde_json::from_str::<TargetSet>(json);
    assert_eq!(read(r#"{"v4":[[167772160,255]],"v6":[],"names":["a.b"]}"#).unwrap(), parse("10.0.0.0/24 a.b"));
    assert!(read(r#"{"v4":[[4294967295,1]],"v6":[],"names":[]}"#).is_err(), "past the last address");
    assert!(read(r#"{"v4":[],"v6":[],"names":["Upper.case"]}"#).is_err());
    assert!(read(r#"{"v4":[],"v6":[],"names":["\u001b[2J"]}"#).is_err());
    // What earlier releases took for a name can be read back; it is not resolved.
    assert_eq!(read(r#"{"v4":[],"v6":[],"names":["0x7f000001"]}"#).unwrap().name_count(), 1);
    // Found by fuzzing: as a name it would be printed, and then read as an address.
    assert!(read(r#"{"v4":[],"v6":[],"names":["88-99"]}"#).is_err());
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0x0a00_0000_u32..0x0a00_0200).prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        (0_u128..512).prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn token() -> impl Strategy<Value = String> {
    let v4 = (0x0a00_0000_u32..0x0a00_0400, 0_u32..300)
        .prop_map(|(first, more)| format!("{}-{}", Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(first + more)));
    let v6 = (any::<u64>(), 100_u8..=128)
        .prop_map(|(bits, length)| format!("{}/{length}", Ipv6Addr::from_bits(u128::from(bits) << 40)));
    prop_oneof![
        v4,
        v6,
        (1_u8..=254, 8_u8..=32).prop_map(|(a, length)| format!("{a}.0.0.0/{length}")),
        (0_u8..9, 0_u8..9).prop_map(|(a, b)| format!("10.{a}-{}.{b}.*", a + 3)),
        "[a-z][a-z0-9]{0,8}(\\.[a-z]{2,5})?",
        // One of a link is refused without its zone.
        address().prop_filter_map("of a link", |address| {
            (!matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())).then(|| address.to_string())
        }),
    ]
}

proptest! {
    #[test]
    fn a_printed_set_parses_back_and_survives_its_encoding(tokens in proptest::collection::vec(token(), 0..12)) {
        let set = parse(&tokens.join("\n"));
        prop_assert_eq!(&parse(&set.to_string()), &set);
        let json = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(&serde_json::from_str::<TargetSet>(&json).unwrap(), &set);
    }

    #[test]
    fn every_index_has_one_target_and_every_address_its_index(
        tokens in proptest::collection::vec(token(), 1..8), excluded in proptest::collection::vec(token(), 0..4),
        indexes in proptest::collection::vec(any::<u64>(), 20)
    ) {
        let excluded = parse(&excluded.join("\n"));
        let set = parse(&tokens.join("\n")).exclude(&excluded);
        for index in indexes {
            let Some(index) = index.checked_rem(set.count()) else { break };
            if let Target::Address(address) = set.get(index).unwrap() {
                prop_assert_eq!(set.position(address), Some(index));
                prop_assert!(!excluded.contains(address));
            }
        }
        prop_assert_eq!(set.get(set.count()), None);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = parse_targets(&text, "any");
    }

    #[test]
    fn no_text_of_address_characters_makes_the_parser_panic(text in "[0-9a-f.:*/, #%-]{0,60}") {
        if let Ok(set) = parse_targets(&text, "any") {
            prop_assert_eq!(parse(&set.to_string()), set);
        }
    }
}

#[test]
fn an_address_of_a_set_that_is_too_large_to_count_may_have_no_index() {
    let mut builder = TargetSet::builder();
    builder.add_text("10.0.0.0/8 fd00::/64", "test").unwrap();
    let set = builder.build_uncounted().unwrap();
    let position = |text: &str| set.position(text.parse().unwrap());
    assert!(!set.is_countable());
    assert_eq!(position("fd00::7"), Some((1 << 24) + 7));
    assert_eq!(position("fd00::ffff:ffff:feff:ffff"), Some(u64::MAX));
    // Found by fuzzing: an index among the addresses of IPv6 alone, which those of IPv4 lead beyond the last number.
    for text in ["fd00::ffff:ffff:ff00:0", "fd00::ffff:ffff:ffff:ffff"] {
        assert_eq!(position(text), None, "{text}");
        assert!(set.contains(text.parse().unwrap()));
    }
}

#[test]
fn a_link_local_address_is_in_its_zone_and_left_out_on_every_link_where_none_is_said() {
    let set = |text: &str| parse_targets(text, "test").unwrap();
    let excluded = |text: &str| {
        let mut builder = TargetSet::builder();
        builder.add_exclusions(text, "test").unwrap();
        builder.build_uncounted().unwrap()
    };
    let zoned = set("fe80::1%lo-fe80::9%lo,fd00::1,a.example");
    assert_eq!((zoned.count(), zoned.to_string().as_str()), (11, "fd00::1,fe80::1%lo-fe80::9%lo,a.example"));
    assert_eq!(set("fe80::%lo/126"), set("fe80::/126%1"));
    assert_eq!(set(&zoned.to_string()), zoned, "as it is written");
    assert_eq!(zoned.exclude(&excluded("fe80::3")).count(), 10);
    assert_eq!(zoned.exclude(&excluded("fe80::3%lo")).count(), 10);
    assert_eq!(zoned.exclude(&excluded("fe80::/10")).count(), 2);
    assert_eq!(zoned.exclude(&excluded("fd00::/8")).count(), 10);
    let (plain, apart) = zoned.apart();
    assert_eq!((plain.to_string().as_str(), apart.count()), ("fd00::1", 10));
    let bytes = postcard::to_stdvec(&zoned).unwrap();
    assert_eq!(postcard::from_bytes::<TargetSet>(&bytes).unwrap(), zoned);
}
