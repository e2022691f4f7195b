//! Scenes from the life of groups, as members live it.

use super::scene::{Client, DELAY_MS, REBALANCE_MS, SESSION_MS, Scene};
use super::*;
use crate::broker::context::Random;

#[test]
fn two_members_meet_and_share() {
    let mut scene = Scene::new();
    let first = scene.join(&Client::new());
    let second = scene.join(&Client::new());
    assert!(scene.heard(first).is_none(), "an empty group gathers its members first");
    assert_eq!(scene.state(), "PreparingRebalance");
    scene.pass(u64::from(DELAY_MS));
    assert!(scene.heard(first).is_none(), "a second member draws the gathering out once");
    scene.pass(u64::from(DELAY_MS));

    let first = scene.joined(first).unwrap();
    let second = scene.joined(second).unwrap();
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.protocol_name, "range");
    assert_eq!(first.leader, first.member_id);
    assert_eq!(second.leader, first.member_id);
    assert_eq!(first.members.len(), 2);
    assert!(second.members.is_empty());
    assert!(first.member_id.starts_with("c-") && first.member_id.len() == "c-".len() + 36);

    let leader = Client::new().after(&first);
    let follower = Client::new().after(&second);
    let waits = scene.sync(&follower, &[]);
    assert!(scene.heard(waits).is_none(), "nothing to hand out before the leader syncs");
    assert_eq!(scene.state(), "CompletingRebalance");
    assert_eq!(scene.beat(&follower), Ok(()), "members may beat while they wait");
    let brings = scene.sync(&leader, &[(&leader.id, "p0"), (&follower.id, "p1"), ("stranger", "p2")]);
    assert_eq!(scene.synced(brings).unwrap(), "p0");
    assert_eq!(scene.synced(waits).unwrap(), "p1");
    let again = scene.sync(&follower, &[]);
    assert_eq!(scene.synced(again).unwrap(), "p1");

    let description = scene.describe().unwrap();
    assert_eq!((description.state, description.protocol_name.as_str()), ("Stable", "range"));
    assert_eq!(description.members.len(), 2);
    assert!(description.members.iter().all(|member| member.metadata == "m" && !member.assignment.is_empty()));
    assert_eq!(scene.groups.list(), vec![("g".to_string(), "consumer".to_string(), "Stable")]);
}

#[test]
fn a_crashed_member_is_found_and_its_part_handed_on() {
    let mut scene = Scene::new();
    let clients = scene.stable(2);
    scene.pass(SESSION_MS as u64 / 2);
    assert_eq!(scene.beat(&clients[0]), Ok(()));
    scene.pass(SESSION_MS as u64 / 2 + 1);
    assert_eq!(scene.beat(&clients[0]), Err(GroupError::RebalanceInProgress));
    assert_eq!(scene.beat(&clients[1]), Err(GroupError::UnknownMember));

    let rejoin = scene.join(&clients[0]);
    let joined = scene.joined(rejoin).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
    assert_eq!(scene.beat(&clients[0]), Err(GroupError::IllegalGeneration));
}

#[test]
fn a_third_member_makes_the_others_join_again() {
    let mut scene = Scene::new();
    let clients = scene.stable(2);
    let third = scene.join(&Client::new());
    assert_eq!(scene.beat(&clients[1]), Err(GroupError::RebalanceInProgress));
    let sync = scene.sync(&clients[1], &[]);
    assert_eq!(scene.synced(sync), Err(GroupError::RebalanceInProgress));
    let first = scene.join(&clients[0]);
    assert!(scene.heard(third).is_none());
    let second = scene.join(&clients[1]);
    let joined = scene.joined(first).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 3));
    assert_eq!(joined.leader, clients[0].id, "a leader that joins again stays leader");
    assert_eq!(scene.joined(second).unwrap().generation, 2);
    assert_eq!(scene.joined(third).unwrap().generation, 2);
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut scene = Scene::new();
    let clients = scene.stable(2);
    let third = scene.join(&Client::new());
    // It keeps beating, but never joins.
    for _ in 0..REBALANCE_MS / 5_000 {
        assert_eq!(scene.beat(&clients[1]), Err(GroupError::RebalanceInProgress));
        let _ = scene.beat(&clients[0]);
        scene.pass(5_000);
    }
    let joined = scene.joined(third).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(scene.beat(&clients[1]), Err(GroupError::UnknownMember));
}

#[test]
fn who_joins_but_never_syncs_is_out() {
    let mut scene = Scene::new();
    let clients = scene.stable(2);
    let first = scene.join(&clients[0]);
    let second = scene.join(&clients[1]);
    let leader = clients[0].after(&scene.joined(first).unwrap());
    let silent = clients[1].after(&scene.joined(second).unwrap());
    let sync = scene.sync(&leader, &[(&leader.id, "all")]);
    assert_eq!(scene.synced(sync).unwrap(), "all");
    assert_eq!(scene.state(), "Stable");
    for _ in 0..REBALANCE_MS / 5_000 {
        let _ = scene.beat(&leader);
        let _ = scene.beat(&silent);
        scene.pass(5_000);
    }
    assert_eq!(scene.beat(&leader), Err(GroupError::RebalanceInProgress));
    assert_eq!(scene.beat(&silent), Err(GroupError::UnknownMember));
}

#[test]
fn joins_during_completion_are_answered_from_what_is_known() {
    let mut scene = Scene::new();
    let clients = scene.stable(2);
    let first = scene.join(&clients[0]);
    let second = scene.join(&clients[1]);
    let leader = clients[0].after(&scene.joined(first).unwrap());
    let follower = clients[1].after(&scene.joined(second).unwrap());
    let waits = scene.sync(&follower, &[]);
    let repeated = scene.join(&leader);
    let joined = scene.joined(repeated).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 2));
    // With another subscription it is a new rebalance, and whoever waits for the old one is told.
    let changed = scene.ask(Scene::join_request(&leader, &[("range", "other")]));
    assert!(scene.heard(changed).is_none());
    assert_eq!(scene.synced(waits), Err(GroupError::RebalanceInProgress));
    assert_eq!(scene.state(), "PreparingRebalance");
}

#[test]
fn a_follower_joins_again_for_nothing_and_a_leader_for_a_rebalance() {
    let mut scene = Scene::new();
    let clients = scene.stable(2);
    let follower = scene.join(&clients[1]);
    let joined = scene.joined(follower).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (1, 0));
    assert_eq!(scene.state(), "Stable");
    let leader = scene.join(&clients[0]);
    assert!(scene.heard(leader).is_none());
    assert_eq!(scene.state(), "PreparingRebalance");
}

#[test]
fn a_new_member_comes_back_with_the_id_it_was_given() {
    let mut scene = Scene::new();
    let mut request = Scene::join_request(&Client::new(), &[("range", "m")]);
    if let GroupRequest::Join { member_id_required, .. } = &mut request {
        *member_id_required = true;
    }
    let ticket = scene.ask(request);
    let Err(GroupError::MemberIdRequired(id)) = scene.joined(ticket) else { panic!("an id is required") };
    assert_eq!(scene.state(), "Empty");
    let client = Client { id, ..Client::new() };
    let ticket = scene.join(&client);
    scene.pass(u64::from(DELAY_MS));
    assert_eq!(scene.joined(ticket).unwrap().member_id, client.id);

    let stranger = Client { id: "made-up".to_string(), ..Client::new() };
    let ticket = scene.join(&stranger);
    assert_eq!(scene.joined(ticket), Err(GroupError::UnknownMember));
}

#[test]
fn a_rebalance_waits_for_a_member_that_was_given_an_id_until_its_session_ends() {
    let mut scene = Scene::new();
    let clients = scene.stable(1);
    let mut request = Scene::join_request(&Client::new(), &[("range", "m")]);
    if let GroupRequest::Join { member_id_required, .. } = &mut request {
        *member_id_required = true;
    }
    scene.ask(request);
    let rejoin = scene.join(&clients[0]);
    assert!(scene.heard(rejoin).is_none());
    scene.pass(SESSION_MS as u64);
    assert_eq!(scene.joined(rejoin).unwrap().generation, 2);
}

#[test]
fn a_new_member_that_vanished_while_it_waited_is_dropped() {
    let mut scene = Scene::new();
    scene.join(&Client::new());
    scene.pass(u64::from(DELAY_MS) + SESSION_MS as u64);
    assert_eq!(scene.state(), "Empty");
    assert_eq!(scene.describe().unwrap().members.len(), 0);
    // A group that nobody used in the end is forgotten after a while.
    scene.pass(3_600_000);
    assert_eq!(scene.state(), "none");
    assert_eq!(scene.groups.next_deadline_us(), None);
}

#[test]
fn the_most_liked_common_protocol_wins() {
    let mut scene = Scene::new();
    let (a, b) = (Client::new(), Client::new());
    let first = scene.ask(Scene::join_request(&a, &[("sticky", "s"), ("range", "r")]));
    let second = scene.ask(Scene::join_request(&b, &[("range", "r"), ("sticky", "s"), ("own", "o")]));
    let third = scene.ask(Scene::join_request(&b, &[("range", "r"), ("sticky", "s")]));
    let none = scene.ask(Scene::join_request(&b, &[("own", "o")]));
    assert_eq!(scene.joined(none), Err(GroupError::InconsistentProtocol));
    scene.pass(u64::from(DELAY_MS) * 3);
    let joined = scene.joined(first).unwrap();
    assert_eq!(joined.protocol_name, "range");
    assert!(joined.members.iter().all(|(_, _, metadata)| metadata == "r"));
    assert!(scene.joined(second).is_ok() && scene.joined(third).is_ok());
}

#[test]
fn another_protocol_type_has_no_place_in_the_group() {
    let mut scene = Scene::new();
    scene.stable(1);
    let mut request = Scene::join_request(&Client::new(), &[("range", "m")]);
    if let GroupRequest::Join { protocol_type, .. } = &mut request {
        *protocol_type = "connect".to_string();
    }
    let ticket = scene.ask(request);
    assert_eq!(scene.joined(ticket), Err(GroupError::InconsistentProtocol));
    let ticket = scene.ask(Scene::join_request(&Client::new(), &[]));
    assert_eq!(scene.joined(ticket), Err(GroupError::InconsistentProtocol));
}

#[test]
fn session_timeouts_have_limits() {
    for (timeout_ms, fine) in [
        (SESSION_TIMEOUT_MS_MIN - 1, false),
        (SESSION_TIMEOUT_MS_MIN, true),
        (SESSION_TIMEOUT_MS_MAX, true),
        (SESSION_TIMEOUT_MS_MAX + 1, false),
    ] {
        let mut scene = Scene::new();
        let mut request = Scene::join_request(&Client::new(), &[("range", "m")]);
        if let GroupRequest::Join { session_timeout_ms, .. } = &mut request {
            *session_timeout_ms = timeout_ms;
        }
        let ticket = scene.ask(request);
        if fine {
            assert!(scene.heard(ticket).is_none());
        } else {
            assert_eq!(scene.joined(ticket), Err(GroupError::InvalidSessionTimeout));
            assert_eq!(scene.state(), "none", "a refused first join leaves no group behind");
        }
    }
}

#[test]
fn a_static_member_is_restarted_without_a_rebalance() {
    let mut scene = Scene::new();
    let leader_ticket = scene.join(&Client::named("i1"));
    let other_ticket = scene.join(&Client::named("i2"));
    scene.pass(u64::from(DELAY_MS) * 3);
    let joined = scene.joined(leader_ticket).unwrap();
    assert_eq!(joined.members.iter().filter(|(_, instance, _)| instance.is_some()).count(), 2);
    let leader = Client::named("i1").after(&joined);
    let other = Client::named("i2").after(&scene.joined(other_ticket).unwrap());
    scene.sync(&leader, &[(&leader.id, "p1"), (&other.id, "p2")]);
    scene.sync(&other, &[]);

    let again = scene.join(&Client::named("i2"));
    let joined = scene.joined(again).unwrap();
    assert_eq!((joined.generation, scene.state()), (1, "Stable"));
    assert_ne!(joined.member_id, other.id);
    let restarted = Client::named("i2").after(&joined);
    let sync = scene.sync(&restarted, &[]);
    assert_eq!(scene.synced(sync).unwrap(), "p2", "it keeps what it had");
    assert_eq!(scene.beat(&other), Err(GroupError::FencedInstance));
    let old = scene.join(&other);
    assert_eq!(scene.joined(old), Err(GroupError::FencedInstance));

    // The leader: an old client is told its old self leads, a newer one that it leads and need not assign.
    let again = scene.join(&Client::named("i1"));
    let joined = scene.joined(again).unwrap();
    assert_eq!((joined.leader, joined.skip_assignment), (leader.id, false));
    assert!(joined.members.is_empty());
    let mut request = Scene::join_request(&Client::named("i1"), &[("range", "m")]);
    if let GroupRequest::Join { skips_assignment, .. } = &mut request {
        *skips_assignment = true;
    }
    let again = scene.ask(request);
    let joined = scene.joined(again).unwrap();
    assert!(joined.skip_assignment && joined.leader == joined.member_id && joined.members.len() == 2);
}

#[test]
fn a_static_member_stays_through_a_rebalance_it_misses() {
    let mut scene = Scene::new();
    let first = scene.join(&Client::named("i1"));
    let second = scene.join(&Client::named("i2"));
    scene.pass(u64::from(DELAY_MS) * 3);
    let present = Client::named("i1").after(&scene.joined(first).unwrap());
    let absent = Client::named("i2").after(&scene.joined(second).unwrap());
    scene.sync(&present, &[]);
    scene.sync(&absent, &[]);

    let rejoin = scene.join(&present);
    for _ in 0..REBALANCE_MS / 5_000 {
        assert!(scene.heard(rejoin).is_none());
        assert_eq!(scene.beat(&absent), Err(GroupError::RebalanceInProgress));
        scene.pass(5_000);
    }
    let joined = scene.joined(rejoin).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 2));
    assert_eq!(scene.beat(&absent), Err(GroupError::IllegalGeneration));
    // It is gone once its session is over.
    scene.sync(&present.after(&joined), &[]);
    for _ in 0..=SESSION_MS / 5_000 {
        let _ = scene.beat(&present.after(&joined));
        scene.pass(5_000);
    }
    assert_eq!(scene.beat(&absent), Err(GroupError::UnknownMember));
}

#[test]
fn a_rebalance_nobody_joined_waits_for_the_static_members_sessions() {
    let mut scene = Scene::new();
    let clients = scene.stable(1);
    let silent = scene.join(&Client::named("i1"));
    scene.join(&clients[0]);
    let silent = Client::named("i1").after(&scene.joined(silent).unwrap());
    scene.leave(&[(&clients[0].id, None)]);
    for _ in 0..REBALANCE_MS / 5_000 + 1 {
        assert_eq!(scene.beat(&silent), Err(GroupError::RebalanceInProgress));
        scene.pass(5_000);
    }
    assert_eq!((scene.state(), scene.describe().unwrap().members.len()), ("PreparingRebalance", 1));
    scene.pass(SESSION_MS as u64);
    assert_eq!(scene.state(), "Empty");
}

#[test]
fn an_administrator_throws_out_by_instance_id() {
    let mut scene = Scene::new();
    let ticket = scene.join(&Client::named("i1"));
    scene.pass(u64::from(DELAY_MS) * 3);
    let member = Client::named("i1").after(&scene.joined(ticket).unwrap());
    scene.sync(&member, &[(&member.id, "all")]);
    assert_eq!(scene.leave(&[("", Some("i2"))]), vec![Err(GroupError::UnknownMember)]);
    assert_eq!(scene.state(), "Stable");
    assert_eq!(scene.leave(&[("", Some("i1"))]), vec![Ok(())]);
    assert_eq!(scene.state(), "Empty");
}

#[test]
fn many_leave_at_once() {
    let mut scene = Scene::new();
    let clients = scene.stable(3);
    let results = scene.leave(&[(&clients[0].id, None), ("stranger", None), (&clients[1].id, None)]);
    assert_eq!(results, vec![Ok(()), Err(GroupError::UnknownMember), Ok(())]);
    assert_eq!(scene.beat(&clients[2]), Err(GroupError::RebalanceInProgress));
    let rejoin = scene.join(&clients[2]);
    let joined = scene.joined(rejoin).unwrap();
    assert_eq!(joined.leader, clients[2].id);
    assert_eq!(scene.leave(&[(&clients[2].id, None)]), vec![Ok(())]);
    assert_eq!(scene.state(), "Empty");
    assert_eq!(scene.beat(&clients[2]), Err(GroupError::UnknownMember));
}

/// Whatever members do, in whatever order: every ticket is answered exactly once in the end, and nothing but
/// offsets is left.
#[test]
fn every_request_is_answered_once() {
    for seed in 0..40 {
        let mut scene = Scene::new();
        let mut dice = Random(seed);
        let mut clients = [Client::new(), Client::new(), Client::named("i"), Client::named("j")];
        let mut waiting: Vec<(u64, usize)> = Vec::new();
        let mut answered = 0;
        for _ in 0..400 {
            let place = dice.next_u64() as usize % clients.len();
            let client = clients[place].clone();
            match dice.next_u64() % 8 {
                0..=2 => waiting.push((scene.join(&client), place)),
                3 | 4 => {
                    let all: Vec<(String, &'static str)> =
                        clients.iter().map(|other| (other.id.clone(), "x")).collect();
                    let all: Vec<(&str, &'static str)> =
                        all.iter().map(|(id, part)| (id.as_str(), *part)).collect();
                    waiting.push((scene.sync(&client, &all), place));
                }
                5 => drop(scene.beat(&client)),
                6 if dice.next_u64().is_multiple_of(4) => {
                    drop(scene.leave(&[(&client.id, None)]));
                    clients[place].id.clear();
                }
                _ => scene.pass(dice.next_u64() % 8_000),
            }
            waiting.retain(|(ticket, place)| match scene.heard(*ticket) {
                Some(GroupReply::Join(Ok(joined))) => {
                    clients[*place] = clients[*place].after(&joined);
                    answered += 1;
                    false
                }
                Some(_) => {
                    answered += 1;
                    false
                }
                None => true,
            });
        }
        scene.pass(7_200_000);
        for (ticket, _) in waiting {
            assert!(scene.heard(ticket).is_some(), "seed {seed}: ticket {ticket} is still waiting");
        }
        assert!(0 < answered);
        assert!(scene.heard.is_empty(), "seed {seed}: answered twice: {:?}", scene.heard);
        assert_eq!(scene.state(), "none");
        assert_eq!(scene.groups.next_deadline_us(), None);
    }
}
