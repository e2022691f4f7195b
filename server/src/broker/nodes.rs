//! Who clients are told serves what: the whole process as one node, or each of its cores as a node of its own.
//!
//! In: what was decided at the start. Out: the node of a core, a log or a group. Never: says where a command goes: a
//! core that is asked for what another one owns passes it on, whatever its client was told.

use ringmain_engine::types::LogId;

use super::catalog::{CATALOG_LOG, group_log, shard_of};
use super::groups::log_index_of;

/// One node, as clients are told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node<'a> {
    pub id: i32,
    pub host: &'a str,
    pub port: u16,
}

/// All nodes, numbered from `first_id` on.
///
/// One port: one node stands for every core. More: one for each core, in the order of the cores. `0 < ports.len()`,
/// and every id fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nodes {
    first_id: i32,
    host: String,
    ports: Vec<u16>,
}

impl Nodes {
    /// A node for each of the ports, all of them on `host`.
    pub fn new(first_id: i32, host: String, ports: Vec<u16>) -> Nodes {
        let last = u16::try_from(ports.len()).ok().and_then(|count| count.checked_sub(1));
        let fits = last.is_some_and(|last| first_id.checked_add(i32::from(last)).is_some());
        assert!(fits, "at least one node, and an id for each");
        Nodes { first_id, host, ports }
    }

    /// Every node, by core.
    pub fn all(&self) -> impl Iterator<Item = Node<'_>> {
        (self.first_id..).zip(&self.ports).map(|(id, port)| Node { id, host: &self.host, port: *port })
    }

    /// Whether each core is a node of its own.
    pub fn are_cores(&self) -> bool {
        self.ports.len() > 1
    }

    /// The node with this id.
    pub fn with_id(&self, id: i32) -> Option<Node<'_>> {
        self.all().find(|node| node.id == id)
    }

    /// The node that stands for this core.
    pub fn of_core(&self, core: u16) -> Node<'_> {
        let place = if self.are_cores() { core } else { 0 };
        Node { id: self.first_id + i32::from(place), host: &self.host, port: self.ports[usize::from(place)] }
    }

    /// The node that owns this log.
    pub fn of_log(&self, log: LogId) -> Node<'_> {
        self.of_core(shard_of(log, self.ports.len() as u16))
    }

    /// The node that coordinates this group.
    pub fn of_group(&self, group: &str) -> Node<'_> {
        self.of_log(group_log(log_index_of(group)))
    }

    /// The node that decides the catalog.
    pub fn controller(&self) -> Node<'_> {
        self.of_log(CATALOG_LOG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::command::Command;
    use crate::broker::core_of;
    use crate::broker::groups::GroupRequest;

    #[test]
    fn one_port_is_one_node_for_everything() {
        let nodes = Nodes::new(7, "host".to_string(), vec![9092]);
        let only = Node { id: 7, host: "host", port: 9092 };
        assert_eq!(nodes.all().collect::<Vec<_>>(), [only]);
        assert!(!nodes.are_cores());
        assert_eq!((nodes.of_core(3), nodes.of_log(LogId(260)), nodes.of_group("g")), (only, only, only));
        assert_eq!((nodes.controller(), nodes.with_id(7), nodes.with_id(8)), (only, Some(only), None));
    }

    #[test]
    fn with_a_port_for_each_core_a_node_is_the_core_that_commands_go_to() {
        let nodes = Nodes::new(10, "host".to_string(), vec![9092, 9093, 9100]);
        assert!(nodes.are_cores());
        assert_eq!(nodes.with_id(12), Some(Node { id: 12, host: "host", port: 9100 }));
        assert_eq!(nodes.controller().id, 10);
        for number in 64..80u64 {
            let log = LogId(number << 2);
            let core = core_of(&Command::Unwatch { log }, 3);
            assert_eq!(nodes.of_log(log), nodes.of_core(core));
            let group = format!("group-{number}");
            let core = core_of(&Command::Group { group: group.clone(), request: GroupRequest::Describe }, 3);
            assert_eq!(nodes.of_group(&group), nodes.of_core(core));
        }
    }

    #[test]
    #[should_panic(expected = "an id for each")]
    fn ids_do_not_wrap() {
        Nodes::new(i32::MAX, "host".to_string(), vec![1, 2]);
    }
}
