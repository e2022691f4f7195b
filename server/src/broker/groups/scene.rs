//! What the tests of groups are told with: one core's groups, a clock, and members as their clients know them.

use bytes::Bytes;
use ringmain_engine::types::Now;

use super::*;
use crate::broker::command::SessionId;
use crate::broker::context::Random;

pub(super) const DELAY_MS: u32 = 3_000;
pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 60_000;

/// One core's groups, a clock, and everything heard so far.
pub(super) struct Scene {
    pub(super) groups: Groups,
    pub(super) now: Now,
    pub(super) random: Random,
    pub(super) tickets: u64,
    pub(super) heard: Vec<(u64, GroupReply)>,
    pub(super) log: Vec<(u64, Vec<u8>)>,
}

/// A member as its client knows it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) generation: i32,
}

impl Scene {
    pub(super) fn new() -> Scene {
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
    pub(super) fn ask(&mut self, request: GroupRequest) -> u64 {
        self.tickets += 1;
        let session = SessionId { core: 0, slot: 1, generation: 1 };
        let waiter = Waiter { session, ticket: self.tickets };
        let mut out = GroupOutput::default();
        self.groups.handle("g", request, waiter, self.now, &mut self.random, &mut out);
        self.take(out);
        self.tickets
    }

    pub(super) fn take(&mut self, out: GroupOutput) {
        self.heard.extend(out.replies.into_iter().map(|(waiter, reply)| (waiter.ticket, reply)));
        for write in out.writes {
            self.log.push((write.log_index, write.record));
            self.heard.extend(write.reply.map(|(waiter, reply)| (waiter.ticket, reply)));
        }
    }

    /// Lets time pass, stopping at each deadline on the way.
    pub(super) fn pass(&mut self, ms: u64) {
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
    pub(super) fn heard(&mut self, ticket: u64) -> Option<GroupReply> {
        let place = self.heard.iter().position(|(heard, _)| *heard == ticket)?;
        Some(self.heard.remove(place).1)
    }

    pub(super) fn join_request(client: &Client, protocols: &[(&str, &'static str)]) -> GroupRequest {
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

    pub(super) fn join(&mut self, client: &Client) -> u64 {
        self.ask(Scene::join_request(client, &[("range", "m")]))
    }

    pub(super) fn joined(&mut self, ticket: u64) -> Result<Joined, GroupError> {
        match self.heard(ticket) {
            Some(GroupReply::Join(result)) => result,
            other => panic!("ticket {ticket} should have been answered with a join: {other:?}"),
        }
    }

    pub(super) fn sync(&mut self, client: &Client, assignments: &[(&str, &'static str)]) -> u64 {
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

    pub(super) fn synced(&mut self, ticket: u64) -> Result<Bytes, GroupError> {
        match self.heard(ticket) {
            Some(GroupReply::Sync(result)) => result.map(|synced| synced.assignment),
            other => panic!("ticket {ticket} should have been answered with a sync: {other:?}"),
        }
    }

    pub(super) fn beat(&mut self, client: &Client) -> Result<(), GroupError> {
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

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<Result<(), GroupError>> {
        let name = |(id, instance): &(&str, Option<&str>)| ((*id).to_string(), instance.map(str::to_string));
        let ticket = self.ask(GroupRequest::Leave { members: members.iter().map(name).collect() });
        match self.heard(ticket) {
            Some(GroupReply::Leave(results)) => results,
            other => panic!("leaving is answered at once: {other:?}"),
        }
    }

    pub(super) fn commit(
        &mut self,
        client: &Client,
        offsets: Vec<OffsetCommit>,
    ) -> Vec<Result<(), GroupError>> {
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

    pub(super) fn committed(&mut self) -> Vec<OffsetCommit> {
        let ticket = self.ask(GroupRequest::Committed { partitions: None });
        match self.heard(ticket) {
            Some(GroupReply::Committed(offsets)) => offsets,
            other => panic!("committed offsets are answered at once: {other:?}"),
        }
    }

    pub(super) fn describe(&mut self) -> Option<GroupDescription> {
        let ticket = self.ask(GroupRequest::Describe);
        match self.heard(ticket) {
            Some(GroupReply::Describe(description)) => description,
            other => panic!("a description is answered at once: {other:?}"),
        }
    }

    pub(super) fn delete(&mut self) -> Result<(), GroupError> {
        let ticket = self.ask(GroupRequest::Delete);
        match self.heard(ticket) {
            Some(GroupReply::Delete(result)) => result,
            other => panic!("a deletion is answered at once: {other:?}"),
        }
    }

    /// Deletes offsets; what members say of themselves is taken for the names of topics, "?" for nothing known.
    pub(super) fn delete_offsets(
        &mut self,
        protocol_type: &'static str,
        partitions: &[(&str, i32)],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let topics_of = |metadata: &Bytes| {
            let text = std::str::from_utf8(metadata).ok().filter(|text| *text != "?")?;
            Some(text.split(',').map(str::to_string).collect())
        };
        let ticket = self.ask(GroupRequest::DeleteOffsets {
            partitions: partitions.iter().map(|(topic, index)| (topic.to_string(), *index)).collect(),
            subscriptions: Subscriptions { protocol_type, topics_of },
        });
        match self.heard(ticket) {
            Some(GroupReply::DeleteOffsets(result)) => result,
            other => panic!("a deletion is answered at once or with its record: {other:?}"),
        }
    }

    pub(super) fn state(&mut self) -> &'static str {
        self.describe().map_or("none", |description| description.state)
    }

    /// A stable group of so many dynamic members; the first leads.
    pub(super) fn stable(&mut self, count: usize) -> Vec<Client> {
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
    pub(super) fn new() -> Client {
        Client { id: String::new(), instance: None, generation: -1 }
    }

    pub(super) fn named(instance: &str) -> Client {
        Client { instance: Some(instance.to_string()), ..Client::new() }
    }

    pub(super) fn after(&self, joined: &Joined) -> Client {
        Client {
            id: joined.member_id.clone(),
            instance: self.instance.clone(),
            generation: joined.generation,
        }
    }
}
