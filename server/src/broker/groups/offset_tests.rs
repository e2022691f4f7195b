//! Committed offsets: who may commit them, and how they outlive the process.

use super::scene::{Client, DELAY_MS, Scene};
use super::*;
use crate::broker::catalog::GROUP_LOGS;
use crate::broker::command::SessionId;

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
    let member = Client { generation: 1, ..Client::new() };
    assert_eq!(scene.commit(&member, vec![offset("t", 0, 1)]), vec![Err(GroupError::NotFound)]);
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
fn offsets_of_topics_that_no_member_reads_are_deleted() {
    let mut scene = Scene::new();
    assert_eq!(scene.delete_offsets("consumer", &[("t", 0)]), Err(GroupError::NotFound));
    // The members say that they read "m".
    let clients = scene.stable(2);
    let kept = vec![offset("m", 0, 1), offset("t", 1, 3)];
    scene.commit(&clients[0], [kept.clone(), vec![offset("t", 0, 2)]].concat());
    let results = scene.delete_offsets("consumer", &[("m", 0), ("t", 0), ("t", 0), ("u", 7)]);
    assert_eq!(results, Ok(vec![Err(GroupError::Subscribed), Ok(()), Ok(()), Ok(())]));
    assert_eq!(scene.committed(), kept);
    assert_eq!(scene.delete_offsets("connect", &[("t", 1)]), Err(GroupError::NotEmpty));

    let mut replayed = Scene::new();
    for (_, record) in &scene.log {
        replayed.groups.restore(record).unwrap();
    }
    assert_eq!(replayed.committed(), kept);

    scene.leave(&[(&clients[0].id, None), (&clients[1].id, None)]);
    assert_eq!(scene.delete_offsets("connect", &[("m", 0), ("t", 1)]), Ok(vec![Ok(()), Ok(())]));
    assert_eq!((scene.committed(), scene.state()), (vec![], "Empty"));
    for (_, record) in &scene.log {
        replayed.groups.restore(record).unwrap();
    }
    assert_eq!(replayed.state(), "none");
    scene.pass(3_600_000);
    assert_eq!(scene.state(), "none", "a group without members and offsets is forgotten");
}

#[test]
fn what_members_read_is_any_topic_as_long_as_it_is_not_known() {
    let mut scene = Scene::new();
    scene.commit(&Client::new(), vec![offset("t", 0, 5)]);
    let first = scene.join(&Client::new());
    assert_eq!(scene.state(), "PreparingRebalance");
    assert_eq!(scene.delete_offsets("consumer", &[("t", 0)]), Ok(vec![Err(GroupError::Subscribed)]));
    scene.pass(u64::from(DELAY_MS) * 3);
    assert!(scene.joined(first).is_ok());
    assert_eq!(scene.delete_offsets("consumer", &[("t", 0)]), Ok(vec![Ok(())]));

    let mut scene = Scene::new();
    scene.commit(&Client::new(), vec![offset("t", 0, 5)]);
    scene.ask(Scene::join_request(&Client::new(), &[("range", "?")]));
    scene.pass(u64::from(DELAY_MS) * 3);
    assert_eq!(scene.delete_offsets("consumer", &[("t", 0)]), Ok(vec![Err(GroupError::Subscribed)]));
    assert_eq!(scene.committed(), vec![offset("t", 0, 5)]);
}

#[test]
fn a_reply_to_a_deletion_of_offsets_rides_on_its_last_record() {
    let mut scene = Scene::new();
    let offsets = (0..10_000).map(|partition| offset("a-topic", partition, 1)).collect();
    scene.commit(&Client::new(), offsets);
    let waiter = Waiter { session: SessionId { core: 0, slot: 0, generation: 0 }, ticket: 9 };
    let request = GroupRequest::DeleteOffsets {
        partitions: (0..10_000).map(|partition| ("a-topic".to_string(), partition)).collect(),
        subscriptions: Subscriptions { protocol_type: "consumer", topics_of: |_| None },
    };
    let mut out = GroupOutput::default();
    scene.groups.handle("g", request, waiter, scene.now, &mut scene.random, &mut out);
    assert!(out.replies.is_empty());
    assert!(1 < out.writes.len());
    let last = out.writes.pop().unwrap();
    assert!(out.writes.iter().all(|write| write.reply.is_none()));
    let Some((_, GroupReply::DeleteOffsets(result))) = last.refusal() else { panic!("the last has it") };
    assert_eq!(result, Err(GroupError::Storage));
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
fn offsets_of_topics_that_are_gone_are_forgotten_after_a_start() {
    let mut scene = Scene::new();
    scene.commit(&Client::new(), vec![offset("kept", 0, 5), offset("gone", 1, 6), offset("lost", 0, 7)]);
    let mut out = GroupOutput::default();
    scene.groups.retain_topics(|topic| topic == "kept", scene.now, &mut out);
    assert_eq!(out.writes.len(), 2);
    assert_eq!(scene.committed(), vec![offset("kept", 0, 5)]);
    let mut out = GroupOutput::default();
    scene.groups.topic_deleted("kept", scene.now, &mut out);
    assert_eq!(out.writes.len(), 1);
    scene.pass(3_600_000);
    assert_eq!(scene.state(), "none", "a group without members and offsets is forgotten");
}

#[test]
fn every_damaged_record_is_refused() {
    let records = record::encode_offsets("g", [offset("t", 0, 5)].into_iter());
    let forgotten = record::encode_offsets_forgotten("g", [("t".to_string(), 0)].into_iter());
    let mut groups = Groups::new(0);
    for record in [&records[0], &forgotten[0]] {
        for length in 0..record.len() {
            assert!(matches!(groups.restore(&record[..length]), Err(BadState::Truncated { .. })));
        }
    }
    let longer = [records[0].as_slice(), &[0]].concat();
    assert_eq!(groups.restore(&longer), Err(BadState::Trailing(1)));
    assert_eq!(groups.restore(&[2]), Err(BadState::UnknownVersion(2)));
    assert_eq!(groups.restore(&[1, 9, 0, 0, 0, 0]), Err(BadState::UnknownKind(9)));
    assert!(matches!(groups.restore(&[1, 2, 1, 0, 0, 0, 0xff]), Err(BadState::NotText(_))));
    for kind in [1, 4] {
        let huge = [1, kind, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(groups.restore(&huge), Err(BadState::Truncated { .. })));
    }
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
