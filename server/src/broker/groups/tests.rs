//! Scenes from the life of groups, as members and administrators live it.

use bytes::Bytes;
use ringmain_engine::types::Now;

use super::*;
use crate::broker::catalog::GROUP_LOGS;
use crate::broker::command::SessionId;
use crate::broker::context::Random;

const DELAY_MS: u32 = 3_000;
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;

/// One core's groups, a clock, and everything heard so far.
struct Scene {
    groups: Groups,
    now: Now,
    random: Random,
    tickets: u64,
    heard: Vec<(u64, GroupReply)>,
    log: Vec<(u64, Vec<u8>)>,
}

/// A member as its client knows it.
#[derive(Clone)]
struct Client {
    id: String,
    instance: Option<String>,
    generation: i32,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            groups: Groups::new(DELAY_MS),
            now: Now { monotonic_us: 1_000_000, wall_ms: 0 },
            random: Random(7),
            tickets: 0,
            heard: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Asks; returns the ticket.
    fn ask(&mut self, request: GroupRequest) -> u64 {
        self.tickets += 1;
        let session = SessionId { core: 0, slot: 1, generation: 1 };
        let waiter = Waiter { session, ticket: self.tickets };
        let mut out = GroupOutput::default();
        self.groups.handle("g", request, waiter, self.now, &mut self.random, &mut out);
        self.take(out);
        self.tickets
    }

    fn take(&mut self, out: GroupOutput) {
        self.heard.extend(out.replies.into_iter().map(|(waiter, reply)| (waiter.ticket, reply)));
        for write in out.writes {
            self.log.push((write.log_index, write.record));
            self.heard.extend(write.reply.map(|(waiter, reply)| (waiter.ticket, reply)));
        }
    }

    /// Lets time pass, stopping at each deadline on the way.
    fn pass(&mut self, ms: u64) {
        let until_us = self.now.monotonic_us + ms * 1000;
        while let Some(at_us) = self.groups.next_deadline_us().filter(|at_us| *at_us <= until_us) {
            self.now.monotonic_us = self.now.monotonic_us.max(at_us);
            let mut out = GroupOutput::default();
            self.groups.expire(self.now, &mut out);
            self.take(out);
        }
        self.now.monotonic_us = until_us;
    }

    /// The reply to a ticket, if it has come. It comes once.
    fn heard(&mut self, ticket: u64) -> Option<GroupReply> {
        let place = self.heard.iter().position(|(heard, _)| *heard == ticket)?;
        Some(self.heard.remove(place).1)
    }

    fn join_request(client: &Client, protocols: &[(&str, &'static str)]) -> GroupRequest {
        GroupRequest::Join {
            member_id: client.id.clone(),
            instance_id: client.instance.clone(),
            client_id: "c".to_string(),
            client_host: "/127.0.0.1".to_string(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".to_string(),
            protocols: protocols
                .iter()
                .map(|(name, metadata)| ((*name).to_string(), Bytes::from_static(metadata.as_bytes())))
                .collect(),
            member_id_required: false,
            skips_assignment: false,
        }
    }

    fn join(&mut self, client: &Client) -> u64 {
        self.ask(Scene::join_request(client, &[("range", "m")]))
    }

    fn joined(&mut self, ticket: u64) -> Result<Joined, GroupError> {
        match self.heard(ticket) {
            Some(GroupReply::Join(result)) => result,
            other => panic!("ticket {ticket} should have been answered with a join: {other:?}"),
        }
    }

    fn sync(&mut self, client: &Client, assignments: &[(&str, &'static str)]) -> u64 {
        self.ask(GroupRequest::Sync {
            member_id: client.id.clone(),
            instance_id: client.instance.clone(),
            generation: client.generation,
            protocol_type: None,
            protocol_name: None,
            assignments: assignments
                .iter()
                .map(|(id, part)| ((*id).to_string(), Bytes::from_static(part.as_bytes())))
                .collect(),
        })
    }

    fn synced(&mut self, ticket: u64) -> Result<Bytes, GroupError> {
        match self.heard(ticket) {
            Some(GroupReply::Sync(result)) => result.map(|synced| synced.assignment),
            other => panic!("ticket {ticket} should have been answered with a sync: {other:?}"),
        }
    }

    fn beat(&mut self, client: &Client) -> Result<(), GroupError> {
        let ticket = self.ask(GroupRequest::Heartbeat {
            member_id: client.id.clone(),
            instance_id: client.instance.clone(),
            generation: client.generation,
        });
        match self.heard(ticket) {
            Some(GroupReply::Heartbeat(result)) => result,
            other => panic!("a heartbeat is answered at once: {other:?}"),
        }
    }

    fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<Result<(), GroupError>> {
        let name = |(id, instance): &(&str, Option<&str>)| ((*id).to_string(), instance.map(str::to_string));
        let ticket = self.ask(GroupRequest::Leave { members: members.iter().map(name).collect() });
        match self.heard(ticket) {
            Some(GroupReply::Leave(results)) => results,
            other => panic!("leaving is answered at once: {other:?}"),
        }
    }

    fn commit(&mut self, client: &Client, offsets: Vec<OffsetCommit>) -> Vec<Result<(), GroupError>> {
        let ticket = self.ask(GroupRequest::Commit {
            member_id: client.id.clone(),
            instance_id: client.instance.clone(),
            generation: client.generation,
            offsets,
        });
        match self.heard(ticket) {
            Some(GroupReply::Commit(results)) => results,
            other => panic!("a commit is answered at once or with its record: {other:?}"),
        }
    }

    fn committed(&mut self) -> Vec<OffsetCommit> {
        let ticket = self.ask(GroupRequest::Committed { partitions: None });
        match self.heard(ticket) {
            Some(GroupReply::Committed(offsets)) => offsets,
            other => panic!("committed offsets are answered at once: {other:?}"),
        }
    }

    fn describe(&mut self) -> Option<GroupDescription> {
        let ticket = self.ask(GroupRequest::Describe);
        match self.heard(ticket) {
            Some(GroupReply::Describe(description)) => description,
            other => panic!("a description is answered at once: {other:?}"),
        }
    }

    fn delete(&mut self) -> Result<(), GroupError> {
        let ticket = self.ask(GroupRequest::Delete);
        match self.heard(ticket) {
            Some(GroupReply::Delete(result)) => result,
            other => panic!("a deletion is answered at once: {other:?}"),
        }
    }

    fn state(&mut self) -> &'static str {
        self.describe().map_or("none", |description| description.state)
    }

    /// A stable group of so many dynamic members; the first leads.
    fn stable(&mut self, count: usize) -> Vec<Client> {
        let tickets: Vec<u64> = (0..count).map(|_| self.join(&Client::new())).collect();
        self.pass(u64::from(DELAY_MS) * 3);
        let mut clients: Vec<Client> = Vec::new();
        let mut leader = String::new();
        for ticket in tickets {
            let joined = self.joined(ticket).unwrap();
            leader.clone_from(&joined.leader);
            clients.push(Client { id: joined.member_id, instance: None, generation: joined.generation });
        }
        clients.sort_by_key(|client| client.id != leader);
        for client in clients.clone().into_iter().rev() {
            let assignments: Vec<(&str, &'static str)> = if client.id == leader {
                clients.iter().map(|other| (other.id.as_str(), "part")).collect()
            } else {
                Vec::new()
            };
            self.sync(&client, &assignments);
        }
        self.heard.clear();
        assert_eq!(self.state(), "Stable");
        clients
    }
}

impl Client {
    fn new() -> Client {
        Client { id: String::new(), instance: None, generation: -1 }
    }

    fn named(instance: &str) -> Client {
        Client { instance: Some(instance.to_string()), ..Client::new() }
    }

    fn after(&self, joined: &Joined) -> Client {
        Client {
            id: joined.member_id.clone(),
            instance: self.instance.clone(),
            generation: joined.generation,
        }
    }
}

fn offset(topic: &str, partition: i32, offset: i64) -> OffsetCommit {
    OffsetCommit {
        topic: topic.to_string(),
        partition,
        offset,
        leader_epoch: 3,
        metadata: "here".to_string(),
    }
}

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
    let ticket = scene.join(&Client::named("i1"));
    scene.pass(u64::from(DELAY_MS) * 3);
    let member = Client::named("i1").after(&scene.joined(ticket).unwrap());
    scene.sync(&member, &[(&member.id, "all")]);
    // Its instance id alone is enough to throw it out.
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

#[test]
fn members_commit_and_strangers_do_not() {
    let mut scene = Scene::new();
    let clients = scene.stable(2);
    let fine = vec![offset("t", 0, 5), offset("t", 1, 6)];
    assert_eq!(scene.commit(&clients[0], fine.clone()), vec![Ok(()), Ok(())]);
    assert_eq!(scene.committed(), fine);

    let outside = Client::new();
    assert_eq!(scene.commit(&outside, vec![offset("t", 0, 9)]), vec![Err(GroupError::UnknownMember)]);
    let stranger = Client { id: "x".to_string(), ..clients[0].clone() };
    assert_eq!(scene.commit(&stranger, vec![offset("t", 0, 9)]), vec![Err(GroupError::UnknownMember)]);
    let old = Client { generation: 0, ..clients[0].clone() };
    assert_eq!(scene.commit(&old, vec![offset("t", 0, 9)]), vec![Err(GroupError::IllegalGeneration)]);

    // While the others gather, a member may still commit what it has done; after that, not before it synced.
    let leader = scene.join(&clients[0]);
    assert_eq!(scene.commit(&clients[1], vec![offset("t", 0, 7)]), vec![Ok(())]);
    let follower = scene.join(&clients[1]);
    let member = clients[1].after(&scene.joined(follower).unwrap());
    assert!(scene.joined(leader).is_ok());
    assert_eq!(scene.commit(&member, vec![offset("t", 0, 8)]), vec![Err(GroupError::RebalanceInProgress)]);
    assert_eq!(scene.committed(), vec![offset("t", 0, 7), offset("t", 1, 6)]);
}

#[test]
fn offsets_are_kept_from_outside_while_the_group_is_empty() {
    let mut scene = Scene::new();
    let outside = Client::new();
    let mut long = offset("t", 1, 2);
    long.metadata = "x".repeat(METADATA_BYTES_MAX + 1);
    let results = scene.commit(&outside, vec![offset("t", 0, 1), long]);
    assert_eq!(results, vec![Ok(()), Err(GroupError::MetadataTooLarge)]);
    assert_eq!(scene.committed(), vec![offset("t", 0, 1)]);
    assert_eq!(scene.state(), "Empty");
    let late = Client { id: "x".to_string(), generation: 4, ..Client::new() };
    assert_eq!(scene.commit(&late, vec![offset("t", 0, 9)]), vec![Err(GroupError::UnknownMember)]);
    let ticket = scene.ask(GroupRequest::Committed {
        partitions: Some(vec![("t".to_string(), 5), ("t".to_string(), 0), ("u".to_string(), 0)]),
    });
    let Some(GroupReply::Committed(found)) = scene.heard(ticket) else { panic!("answered at once") };
    assert_eq!(found, vec![offset("t", 0, 1)]);
}

#[test]
fn only_an_empty_group_is_deleted() {
    let mut scene = Scene::new();
    assert_eq!(scene.delete(), Err(GroupError::NotFound));
    let clients = scene.stable(1);
    scene.commit(&clients[0], vec![offset("t", 0, 5)]);
    assert_eq!(scene.delete(), Err(GroupError::NotEmpty));
    scene.leave(&[(&clients[0].id, None)]);
    assert_eq!(scene.delete(), Ok(()));
    assert_eq!(scene.state(), "none");
    assert_eq!(scene.committed(), vec![]);
    assert_eq!(scene.groups.next_deadline_us(), None);
}

#[test]
fn a_reply_to_a_commit_rides_on_its_last_record() {
    let mut scene = Scene::new();
    let waiter = Waiter { session: SessionId { core: 0, slot: 0, generation: 0 }, ticket: 9 };
    let request = GroupRequest::Commit {
        member_id: String::new(),
        instance_id: None,
        generation: -1,
        offsets: (0..10_000).map(|partition| offset("a-topic", partition, 1)).collect(),
    };
    let mut out = GroupOutput::default();
    scene.groups.handle("g", request, waiter, scene.now, &mut scene.random, &mut out);
    assert!(out.replies.is_empty());
    assert!(1 < out.writes.len());
    assert!(out.writes.iter().all(|write| write.log_index == log_index_of("g")));
    let last = out.writes.pop().unwrap();
    assert!(out.writes.iter().all(|write| write.reply.is_none()));
    let Some((_, GroupReply::Commit(results))) = last.refusal() else { panic!("the last has the reply") };
    assert_eq!(results, vec![Err(GroupError::Storage); 10_000]);
}

#[test]
fn offsets_survive_as_records_and_as_a_snapshot() {
    let mut scene = Scene::new();
    let clients = scene.stable(1);
    scene.commit(&clients[0], vec![offset("t", 0, 5), offset("u", 1, 6)]);
    scene.commit(&clients[0], vec![offset("t", 0, 7)]);
    let mut out = GroupOutput::default();
    scene.groups.topic_deleted("u", scene.now, &mut out);
    scene.take(out);
    let kept = scene.committed();
    assert_eq!(kept, vec![offset("t", 0, 7)]);

    let mut replayed = Scene::new();
    for (_, record) in &scene.log {
        replayed.groups.restore(record).unwrap();
    }
    assert_eq!(replayed.committed(), kept);
    let mut restored = Scene::new();
    for log_index in 0..GROUP_LOGS {
        for record in replayed.groups.snapshot(log_index) {
            assert_eq!(log_index, log_index_of("g"));
            restored.groups.restore(&record).unwrap();
        }
    }
    assert_eq!(restored.committed(), kept);
    assert_eq!(restored.state(), "Empty");

    scene.leave(&[(&clients[0].id, None)]);
    scene.delete().unwrap();
    for (_, record) in &scene.log {
        restored.groups.restore(record).unwrap();
    }
    assert_eq!(restored.state(), "none");
    assert!((0..GROUP_LOGS).all(|log_index| restored.groups.snapshot(log_index).is_empty()));
}

#[test]
fn every_damaged_record_is_refused() {
    let records = record::encode_offsets("g", [offset("t", 0, 5)].into_iter());
    let mut groups = Groups::new(0);
    for length in 0..records[0].len() {
        assert!(matches!(groups.restore(&records[0][..length]), Err(BadState::Truncated { .. })));
    }
    let longer = [records[0].as_slice(), &[0]].concat();
    assert_eq!(groups.restore(&longer), Err(BadState::Trailing(1)));
    assert_eq!(groups.restore(&[2]), Err(BadState::UnknownVersion(2)));
    assert_eq!(groups.restore(&[1, 9, 0, 0, 0, 0]), Err(BadState::UnknownKind(9)));
    assert!(matches!(groups.restore(&[1, 2, 1, 0, 0, 0, 0xff]), Err(BadState::NotText(_))));
    let huge = [1, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(groups.restore(&huge), Err(BadState::Truncated { .. })));
    assert!(groups.list().is_empty());
}

#[test]
fn the_home_of_a_group_never_changes() {
    // Published values of FNV-1a: "" is cbf29ce484222325, "a" is af63dc4c8601ec8c.
    assert_eq!(log_index_of(""), 0xcbf2_9ce4_8422_2325 % GROUP_LOGS);
    assert_eq!(log_index_of("a"), 0xaf63_dc4c_8601_ec8c % GROUP_LOGS);
}

#[test]
fn names_of_groups_have_limits() {
    let mut scene = Scene::new();
    let session = SessionId { core: 0, slot: 1, generation: 1 };
    for name in [String::new(), "n".repeat(GROUP_NAME_BYTES_MAX + 1)] {
        let mut out = GroupOutput::default();
        let request = Scene::join_request(&Client::new(), &[("range", "m")]);
        let waiter = Waiter { session, ticket: 1 };
        scene.groups.handle(&name, request, waiter, scene.now, &mut scene.random, &mut out);
        assert!(matches!(out.replies[..], [(_, GroupReply::Join(Err(GroupError::InvalidGroupId)))]));
    }
}

/// Whatever members do, in whatever order: every ticket is answered exactly once in the end, and nothing but
/// offsets is left.
#[test]
fn every_request_is_answered_once() {
    for seed in 0..40 {
        let mut scene = Scene::new();
        let mut dice = Random(seed);
        let mut clients = vec![Client::new(), Client::new(), Client::named("i"), Client::named("j")];
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
