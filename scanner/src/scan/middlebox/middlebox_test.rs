//! Tests of hosts that may answer for ports at which nobody listens: who is put to them, and what they come to.

use super::*;

#[test]
fn a_host_with_a_closed_port_for_every_few_open_ones_is_not_suspected() {
    for (opened, closed, expected) in [(2, 0, false), (3, 0, true), (100, 0, true), (3, 1, false), (7, 1, false)] {
        assert_eq!(is_suspicious(opened, closed), expected, "{opened} and {closed}");
    }
    assert!(is_suspicious(500, 2), "a few that are refused do not make the rest real");
    assert!(!is_suspicious(1500, 64_035) && is_cleared(1, 1));
}

#[test]
fn privileged_ports_are_too_many_where_more_than_half_of_all_are_open() {
    let of = |open: std::ops::Range<u16>, closed: std::ops::Range<u16>| {
        let mut privileged = Privileged::default();
        open.for_each(|port| privileged.note(port, PortState::Open));
        closed.for_each(|port| privileged.note(port, PortState::Closed));
        (privileged.are_many(), privileged.are_doubtful(), privileged.are_too_many())
    };
    assert_eq!(of(1..34, 0..0), (true, false, false));
    assert_eq!(of(1..98, 200..205), (true, true, false), "a machine may have as many listeners");
    assert_eq!(of(1..98, 200..300), (true, false, false), "a machine that closes as many is one");
    assert_eq!(of(1..514, 600..605), (true, true, true));
    assert_eq!(of(1..514, 600..700), (true, false, false));
    assert_eq!(of(1024..60_000, 0..0), (false, false, false));
}

#[test]
fn a_host_that_has_passed_is_tested_once_more_where_dozens_of_privileged_ports_are_open() {
    let spec = |ports: &str| ScanSpec { ports: ports.parse().unwrap(), seed: 7, ..ScanSpec::default() };
    let (few, many) = (Privileged::default(), Privileged { opened: 97, closed: 0 });
    let mut passed = Trial::default();
    passed.answer(0, PortState::Closed);
    let due = |before, privileged, ports| Trial::due(before, (97, 0), privileged, &spec(ports));
    assert_eq!(due(None, few, "1-200"), Some(Trial::default()));
    assert_eq!(due(Some(Trial::default()), many, "1-200"), None, "one after the other");
    assert_eq!(due(Some(passed), few, "1-200"), None);
    assert_eq!(due(Some(passed), many, "1-1023"), None, "there is nothing to compare with");
    let mut second = due(Some(passed), many, "1-200").unwrap();
    assert_eq!(
        Trial::due(None, (97, 500), many, &spec("1-200")),
        Some(second),
        "others that are closed clear only themselves"
    );
    for (ports, seed) in [("1-200", 7), ("5-1023", 7), ("1-1019", 8)] {
        let spec = ScanSpec { seed, ..spec(ports) };
        let drawn: Vec<u16> = (0..TRIALS).map(|number| port(&spec, 3, second, number)).collect();
        let apart: std::collections::BTreeSet<u16> = drawn.iter().copied().collect();
        assert_eq!(apart.len(), TRIALS as usize, "{drawn:?}");
        assert!(drawn.iter().all(|port| (1..1024).contains(port) && !spec.ports.contains(Port::tcp(*port))));
        assert!(drawn.iter().all(|port| fragile::class(Port::tcp(*port)).is_none()), "{drawn:?}");
        let numbers: Vec<Option<u32>> = drawn.iter().map(|port| number_of(&spec, 3, second, *port)).collect();
        assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(3)]);
    }
    second.answer(0, PortState::Closed);
    assert_eq!(due(Some(second), many, "1-200"), None, "twice is enough");
}

#[test]
fn only_a_host_all_of_whose_drawn_ports_are_open_fails() {
    let mut trial = Trial::default();
    assert_eq!(std::iter::from_fn(|| trial.next()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    (0..3).for_each(|number| trial.answer(number, PortState::Open));
    assert!(!trial.is_over());
    trial.begin_round();
    assert_eq!((trial.next(), trial.next()), (Some(3), None), "what has answered is not asked again");
    let mut silent = trial;
    trial.answer(3, PortState::Open);
    assert!(trial.has_failed());
    for _ in 0..=ROUNDS_MAX {
        assert!(!silent.is_over(), "where three are open, one may have got lost");
        silent.give_up(3);
    }
    assert_eq!(silent.state(), TrialState::Passed, "silence is no open port");
    let mut dark = Trial::default();
    (0..4).for_each(|number| dark.give_up(number));
    assert_eq!(dark.state(), TrialState::Passed, "nothing is open where nobody looks");
    let mut closed = Trial::default();
    closed.answer(2, PortState::Closed);
    assert_eq!((closed.state(), closed.next()), (TrialState::Passed, None));
    let mut ended = Trial::default();
    ended.end();
    assert_eq!(ended.state(), TrialState::Passed);
}

#[test]
fn ports_of_a_stretch_are_asked_from_end_to_end_and_fail_it_together() {
    let spec = |ports: &str| ScanSpec { ports: ports.parse().unwrap(), seed: 7, ..ScanSpec::default() };
    let mut passed = Trial::default();
    passed.end();
    for (ports, is_outside) in [("2000-2511", true), ("-", false)] {
        let spec = spec(ports);
        let mut trial = Trial::of_stretch(Some(passed), &spec, || Some(2000..=4047)).unwrap();
        let numbers: Vec<u32> = std::iter::from_fn(|| trial.next()).collect();
        let drawn: Vec<u16> = numbers.into_iter().map(|number| port(&spec, 5, trial, number)).collect();
        assert_eq!(drawn.len(), 8);
        for (eighth, port) in (0_u16..).zip(&drawn) {
            let from = 2000 + 256 * eighth;
            assert!((from..from + 256).contains(port), "{drawn:?}");
            assert_eq!(spec.ports.contains(Port::tcp(*port)), !is_outside || eighth < 2);
            assert_eq!(number_of(&spec, 5, trial, *port), Some(eighth.into()));
        }
        (0..7).for_each(|number| trial.answer(number, PortState::Open));
        assert_eq!(Trial::of_stretch(Some(trial), &spec, || Some(1..=2)), None, "one after the other");
        assert!(!trial.is_over() && trial.is_second());
        trial.answer(7, PortState::Open);
        assert_eq!((trial.state(), trial.has_failed()), (TrialState::Failed, false), "of a stretch alone");
    }
    let excluded = ScanSpec { exclude_ports: "2000-2300".parse().unwrap(), ..spec("-") };
    assert_eq!(Trial::of_stretch(None, &excluded, || Some(2000..=4047)), None);
}

#[test]
fn ports_are_drawn_outside_the_scan_while_it_leaves_any() {
    let spec = |ports: &str| ScanSpec { ports: ports.parse().unwrap(), seed: 7, ..ScanSpec::default() };
    for (ports, is_outside) in [("1-1000", true), ("20000-29999", true), ("-", false)] {
        let spec = spec(ports);
        for index in 0..100 {
            let drawn: Vec<u16> = (0..TRIALS).map(|number| port(&spec, index, Trial::default(), number)).collect();
            assert!(drawn.iter().all(|port| (20_000..60_000).contains(port)));
            assert!(drawn.iter().all(|port| spec.ports.contains(Port::tcp(*port)) != is_outside), "{ports}");
            assert!(drawn.iter().all(|port| number_of(&spec, index, Trial::default(), *port).is_some()));
        }
    }
    for excluded in ["20000-49999", "20000-65535"] {
        let spec = ScanSpec { exclude_ports: excluded.parse().unwrap(), ..spec("1-1000") };
        let all = (0..100).flat_map(|index| (0..TRIALS).map(move |number| (index, number)));
        let mut drawn = all.map(|(index, number)| port(&spec, index, Trial::default(), number));
        assert!(drawn.all(|port| !spec.exclude_ports.contains(Port::tcp(port))), "{excluded}");
    }
}

#[test]
fn a_host_whose_drawn_ports_are_all_open_is_asked_below_1024_as_well_where_the_scan_is_about_those() {
    let spec = |ports: &str| ScanSpec { ports: ports.parse().unwrap(), seed: 7, ..ScanSpec::default() };
    let over = |kind, state| Trial { kind, state, ..Trial::default() };
    let (mut stretches, drawn) = (Stretches::default(), TrialKind::Drawn);
    [22, 8080].iter().for_each(|port| stretches.note(*port, PortState::Open));
    for (ports, is_outside) in [("22,8080", true), ("-", false)] {
        let spec = spec(ports);
        let mut failed = over(drawn, TrialState::Failed);
        let Verdict::Next(below) = failed.verdict(&spec, 3, &stretches) else { panic!("{ports}") };
        let asked: Vec<u16> = (0..TRIALS).map(|number| port(&spec, 3, below, number)).collect();
        assert!(asked.iter().all(|port| (1..1024).contains(port)), "{asked:?}");
        assert!(asked.iter().all(|port| spec.ports.contains(Port::tcp(*port)) != is_outside), "{asked:?}");
        assert!(!failed.has_failed() && below.is_second() && !below.is_over());
    }
    let spec = spec("8000-9000");
    let verdict = |kind, state| over(kind, state).verdict(&spec, 3, &stretches);
    assert_eq!(verdict(drawn, TrialState::Failed), Verdict::Everything);
    assert_eq!(verdict(drawn, TrialState::Passed), Verdict::Cleared);
    assert_eq!(verdict(TrialKind::Below, TrialState::Failed), Verdict::Everything);
    assert_eq!(verdict(TrialKind::Below, TrialState::Passed), Verdict::Range(1024..=65_535));
    assert_eq!(verdict(TrialKind::Stretch(2000, 4047), TrialState::Failed), Verdict::Range(2000..=4047));
    assert_eq!(verdict(TrialKind::Stretch(2000, 4047), TrialState::Passed), Verdict::Nothing);
    let Verdict::Range(range) = verdict(TrialKind::Privileged, TrialState::Failed) else { panic!() };
    assert!(range.contains(&22) && *range.end() < 1024 && range.end() - range.start() > 400, "{range:?}");
}
