//! The peer table, step by step: inputs, a call, the effects.

use std::time::Duration;

use super::*;
use crate::Identity;

fn peer(number: u8) -> PeerId {
    Identity::from_secret([number; 32]).peer_id()
}

fn link(number: usize) -> LinkId {
    LinkId::new_unchecked(number)
}

fn inbound(number: usize) -> NewLink {
    NewLink { id: link(number), inbound: true, remote: None }
}

fn outbound(number: usize) -> NewLink {
    NewLink { inbound: false, ..inbound(number) }
}

fn address(port: u16) -> PeerAddress {
    PeerAddress::Socket(([127, 0, 0, 1], port).into())
}

fn member(number: u8, keep_connected: bool) -> Member {
    Member { peer_id: peer(number), addresses: vec![address(u16::from(number))], keep_connected }
}

fn table() -> PeerTable {
    PeerTable::new(peer(0), Limits::default(), Timings::default(), 1)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The dials among the effects.
fn dials(table: &mut PeerTable) -> Vec<PeerId> {
    let dialed = |effect| if let Effect::Dial { peer, .. } = effect { Some(peer) } else { None };
    table.take_effects().into_iter().filter_map(dialed).collect()
}

#[test]
fn a_member_to_keep_is_dialed_at_once_and_the_others_and_oneself_are_not() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(0, true), member(1, true), member(2, false)]);
    assert_eq!(table.next_due(), Some(now));
    table.tick(now);
    assert_eq!(table.take_effects(), [Effect::Dial { peer: peer(1), addresses: vec![address(1)] }]);
    table.tick(now + seconds(60));
    assert_eq!(dials(&mut table), [], "a dial that is under way is not repeated");
    assert_eq!(table.snapshot(now).len(), 2, "the own entry is ignored");
}

#[test]
fn failed_dials_come_further_and_further_apart() {
    let (mut table, start) = (table(), Instant::now());
    table.set_members(start, vec![member(1, true)]);
    let mut now = start;
    let mut waits = Vec::new();
    for _ in 0..12 {
        table.tick(now);
        assert_eq!(dials(&mut table), [peer(1)]);
        table.dial_failed(now, peer(1), "refused".to_owned());
        let due = table.next_due().unwrap();
        waits.push(due - now);
        now = due;
    }
    let redial = Timings::default().redial;
    assert!(waits[0] <= redial.first && waits[0] >= redial.first / 2, "{waits:?}");
    assert!(waits[11] >= redial.max / 2 && waits[11] <= redial.max, "{waits:?}");
    assert_eq!(table.snapshot(now)[0].last_error.as_deref(), Some("refused"));
}

#[test]
fn a_connection_that_did_not_last_counts_as_a_failure_and_one_that_did_starts_anew() {
    let (mut table, start) = (table(), Instant::now());
    table.set_members(start, vec![member(1, true)]);
    table.tick(start);
    table.take_effects();
    table.dial_succeeded(peer(1));
    let mut now = start;
    for number in 1..=6 {
        table.connected(now, peer(1), outbound(number)).unwrap();
        now += Duration::from_millis(10);
        table.disconnected(now, peer(1), link(number), true);
    }
    table.tick(now + seconds(3));
    assert_eq!(dials(&mut table), [], "the sixth failure waits 3.2 to 6.4 s, whatever the earlier ones allowed");
    table.tick(now + seconds(7));
    assert_eq!(dials(&mut table), [peer(1)]);
    table.dial_succeeded(peer(1));

    table.connected(now, peer(1), outbound(7)).unwrap();
    table.heard(now + seconds(10), peer(1), link(7), Duration::from_millis(1));
    now += seconds(11);
    table.disconnected(now, peer(1), link(7), true);
    table.tick(now + Timings::default().redial.first);
    assert_eq!(dials(&mut table), [peer(1)]);
}

#[test]
fn a_member_goes_up_with_its_first_connection_and_down_with_its_last() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, false)]);
    table.connected(now, peer(1), inbound(1)).unwrap();
    table.connected(now, peer(1), outbound(2)).unwrap();
    table.disconnected(now, peer(1), link(1), true);
    table.disconnected(now, peer(1), link(2), true);
    table.disconnected(now, peer(1), link(2), true);
    let announced: Vec<Effect> =
        table.take_effects().into_iter().filter(|effect| matches!(effect, Effect::Announce(_))).collect();
    assert_eq!(
        announced,
        [
            Effect::Announce(PeerEvent::Up { peer: peer(1), rtt: None }),
            Effect::Announce(PeerEvent::Down { peer: peer(1), hung_up: true }),
        ]
    );
}

#[test]
fn a_third_connection_replaces_the_oldest() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, false)]);
    for number in 1..=3 {
        table.connected(now, peer(1), inbound(number)).unwrap();
    }
    let closed = table.take_effects().into_iter().find(|effect| matches!(effect, Effect::Close { .. }));
    assert!(matches!(closed, Some(Effect::Close { link: old, .. }) if old == link(1)), "{closed:?}");
    assert_eq!(table.route(now, peer(1)), Route::Link(link(3)), "streams go over the newest");
}

#[test]
fn who_dials_decides_whether_an_idle_connection_is_kept() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, false), member(2, true)]);
    table.connected(now, peer(1), inbound(1)).unwrap();
    table.connected(now, peer(1), outbound(2)).unwrap();
    table.connected(now, peer(2), outbound(3)).unwrap();
    table.set_members(now, vec![member(1, false), member(2, false)]);
    let kept = |effect| if let Effect::Keep { link, keep, .. } = effect { Some((link, keep)) } else { None };
    let kept: Vec<_> = table.take_effects().into_iter().filter_map(kept).collect();
    assert_eq!(kept, [(link(1), true), (link(2), false), (link(3), true), (link(3), false)]);
}

#[test]
fn strangers_have_few_places_and_members_take_none_of_them() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(100, false)]);
    let places = Limits::default().pending_members_max;
    for number in 0..places {
        table.connected(now, peer(u8::try_from(number).unwrap() + 1), inbound(number)).unwrap();
    }
    assert_eq!(table.connected(now, peer(50), inbound(50)), Err(NotAdmitted::PendingFull));
    table.connected(now, peer(100), inbound(51)).unwrap();
    table.connected(now, peer(51), outbound(52)).expect("a connection that we made ourselves is not counted");
    table.disconnected(now, peer(1), link(0), true);
    table.connected(now, peer(50), inbound(53)).unwrap();
}

#[test]
fn one_stranger_does_not_take_all_places() {
    let (mut table, now) = (table(), Instant::now());
    table.connected(now, peer(1), inbound(1)).unwrap();
    table.connected(now, peer(1), inbound(2)).unwrap();
    assert_eq!(table.connected(now, peer(1), inbound(3)), Err(NotAdmitted::PeerFull));
}

#[test]
fn a_stranger_is_sent_away_after_its_time_unless_it_became_a_member() {
    let (mut table, now) = (table(), Instant::now());
    table.connected(now, peer(1), inbound(1)).unwrap();
    table.connected(now, peer(2), inbound(2)).unwrap();
    for second in 1..=30 {
        if second == 5 {
            table.set_members(now + seconds(5), vec![member(2, false)]);
        }
        for (peer, link) in [(peer(1), link(1)), (peer(2), link(2))] {
            table.heard(now + seconds(second), peer, link, Duration::from_millis(3));
        }
        table.tick(now + seconds(second));
    }
    let effects = table.take_effects();
    assert!(effects.contains(&Effect::Announce(PeerEvent::Up { peer: peer(2), rtt: Some(Duration::from_millis(3)) })));
    let closed: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::Close { .. })).collect();
    assert!(matches!(closed[..], [Effect::Close { why: "the peer did not become a member", .. }]), "{closed:?}");
    assert!(!table.is_connected(peer(1)) && table.is_connected(peer(2)));
    assert_eq!(table.entries.len(), 1, "nothing is remembered of a stranger that left");
}

#[test]
fn a_peer_that_answers_no_ping_is_down_and_dialed_again() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, true)]);
    table.connected(now, peer(1), outbound(1)).unwrap();
    table.heard(now + seconds(5), peer(1), link(1), Duration::from_millis(1));
    let silence = Timings::default().silence_max;
    table.tick(now + seconds(5) + silence - Duration::from_millis(1));
    assert!(table.is_connected(peer(1)));
    table.take_effects();
    table.tick(now + seconds(5) + silence);
    let effects = table.take_effects();
    let silent = PeerEvent::Down { peer: peer(1), hung_up: false };
    assert!(matches!(&effects[..], [Effect::Close { .. }, Effect::Announce(down)] if *down == silent), "{effects:?}");
    table.tick(now + seconds(20));
    assert_eq!(dials(&mut table), [peer(1)]);
}

#[test]
fn a_removed_member_is_disconnected_and_forgotten() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, true)]);
    table.connected(now, peer(1), inbound(1)).unwrap();
    table.take_effects();
    table.set_members(now, vec![]);
    let effects = table.take_effects();
    let removed = PeerEvent::Down { peer: peer(1), hung_up: false };
    assert!(matches!(&effects[..], [Effect::Announce(down), Effect::Close { .. }] if *down == removed), "{effects:?}");
    table.tick(now + seconds(60));
    assert_eq!((dials(&mut table), table.entries.len()), (vec![], 0));
}

#[test]
fn a_member_removed_while_it_is_dialed_is_forgotten_when_the_dial_ends() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, true)]);
    table.tick(now);
    table.set_members(now, vec![]);
    table.dial_failed(now, peer(1), "refused".to_owned());
    assert_eq!(table.entries.len(), 0);
}

#[test]
fn a_call_dials_a_member_ahead_of_the_back_off_but_not_in_a_burst() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, false)]);
    assert_eq!(table.route(now, peer(1)), Route::Dialing);
    assert_eq!(table.route(now, peer(1)), Route::Dialing);
    assert_eq!(dials(&mut table), [peer(1)], "one dial serves both calls");
    table.dial_failed(now, peer(1), "refused".to_owned());
    let soon = table.route(now + Duration::from_millis(500), peer(1));
    assert!(matches!(&soon, Route::None(reason) if reason.contains("refused")), "{soon:?}");
    assert_eq!(table.route(now + EAGER_DIAL_AFTER, peer(1)), Route::Dialing);
}

#[test]
fn a_peer_without_an_address_is_reached_only_over_its_own_connection() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![Member { peer_id: peer(1), addresses: vec![], keep_connected: true }]);
    table.tick(now);
    assert_eq!(dials(&mut table), []);
    assert!(matches!(table.route(now, peer(1)), Route::None(_)));
    assert!(matches!(table.route(now, peer(2)), Route::None(_)));
    table.connected(now, peer(1), inbound(1)).unwrap();
    assert_eq!(table.route(now, peer(1)), Route::Link(link(1)));
}

#[test]
fn a_new_address_is_tried_at_once() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, true)]);
    table.tick(now);
    for _ in 0..10 {
        table.dial_failed(now, peer(1), "refused".to_owned());
    }
    table.take_effects();
    table.set_members(now, vec![Member { addresses: vec![address(9)], ..member(1, true) }]);
    table.tick(now);
    assert_eq!(table.take_effects(), [Effect::Dial { peer: peer(1), addresses: vec![address(9)] }]);
}

#[test]
fn the_same_list_again_changes_nothing() {
    let (mut table, now) = (table(), Instant::now());
    let list = vec![member(1, true), member(2, false)];
    table.set_members(now, list.clone());
    table.tick(now);
    table.connected(now, peer(1), outbound(1)).unwrap();
    table.take_effects();
    table.set_members(now, list);
    table.tick(now);
    assert_eq!(table.take_effects(), []);
}

#[test]
fn a_peer_that_dials_again_from_elsewhere_has_lost_what_it_had_before() {
    let (mut table, now) = (table(), Instant::now());
    table.set_members(now, vec![member(1, true)]);
    let from = |number: usize, ip: [u8; 4], inbound| NewLink {
        id: link(number),
        inbound,
        remote: Some(SocketAddr::from((ip, 7400))),
    };
    let closed = |table: &mut PeerTable| {
        let closed = |effect| if let Effect::Close { link, .. } = effect { Some(link) } else { None };
        table.take_effects().into_iter().filter_map(closed).collect::<Vec<_>>()
    };
    // Both dial at the same moment, and one of the two has a second address.
    table.connected(now, peer(1), from(1, [10, 0, 0, 1], false)).unwrap();
    table.connected(now + seconds(1), peer(1), from(2, [10, 0, 9, 1], true)).unwrap();
    assert_eq!(closed(&mut table), []);
    // It was renumbered, and cannot say so on either of them.
    table.connected(now + seconds(60), peer(1), from(3, [10, 0, 0, 7], true)).unwrap();
    assert_eq!(closed(&mut table), [link(1), link(2)]);
    assert_eq!(table.route(now + seconds(60), peer(1)), Route::Link(link(3)));
    table.disconnected(now + seconds(60), peer(1), link(1), false);
    assert!(table.is_connected(peer(1)));
    // And again, soon after that.
    table.connected(now + seconds(65), peer(1), from(6, [10, 0, 0, 9], true)).unwrap();
    assert_eq!(closed(&mut table), [link(3)]);
    table.connected(now + seconds(70), peer(1), from(3, [10, 0, 0, 7], true)).unwrap();
    assert_eq!(closed(&mut table), [link(6)]);
    // From the same address it may be looking for a leader; what this node dials itself says nothing of the others.
    table.connected(now + seconds(90), peer(1), from(4, [10, 0, 0, 7], true)).unwrap();
    assert_eq!(closed(&mut table), []);
    table.disconnected(now + seconds(91), peer(1), link(4), true);
    table.connected(now + seconds(92), peer(1), from(5, [10, 0, 0, 8], false)).unwrap();
    assert_eq!(closed(&mut table), []);
}
