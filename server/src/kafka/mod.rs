//! The Kafka front end: bytes of one connection to commands, events to bytes.
//!
//! The way of a request: [`session`] cuts a frame from the input, [`wire`] reads its header, the table below
//! names its handler in [`api`], the handler answers at once or asks the broker and waits in [`inflight`], and
//! its response leaves when those before it have left.
//!
//! To serve one more request kind: its messages in `wire/`, its handler in `api/`, a row here.

pub mod api;
pub mod error;
pub mod inflight;
pub mod session;
pub mod wire;

#[cfg(test)]
mod tests;

use inflight::{Call, Handled};
use wire::{Reader, WireError};

pub use session::Session;

/// Works on one request, whose body is in the reader. An error closes the connection, as no well-formed answer
/// to a malformed request exists.
pub type Handle = fn(&mut Reader, &mut Call<'_, '_>) -> Result<Handled, WireError>;

/// One request kind that is served.
pub struct Api {
    pub key: i16,
    pub name: &'static str,
    /// Lowest version told to clients. Below [`Api::min`] only where clients conclude more from it than that
    /// the version is served.
    pub advertised_min: i16,
    /// Lowest version that is served.
    pub min: i16,
    /// Highest version that is served.
    pub max: i16,
    /// Lowest version in the flexible encoding.
    pub flexible: i16,
    pub handle: Handle,
}

/// Key of ApiVersions, the one request that is answered in any version.
pub const API_VERSIONS_KEY: i16 = 18;

/// Every request kind that is served. The ranges are Apache Kafka 4.3's: old clients recognise features by
/// single versions inside them. Produce is advertised from 0 because librdkafka takes a missing version 2 for a
/// broker that cannot read compressed batches. ConsumerGroupHeartbeat is served to be refused: without it
/// librdkafka looks for another coordinator for ever and tells nobody.
#[rustfmt::skip]
pub const APIS: &[Api] = &[
    //   key  name                     advertised served flexible  handler
    row(  0, "produce",                 0, 3, 13,     9, api::produce::handle),
    row(  1, "fetch",                   4, 4, 18,    12, api::fetch::handle),
    row(  2, "list_offsets",            1, 1, 11,     6, api::list_offsets::handle),
    row(  3, "metadata",                0, 0, 13,     9, api::metadata::handle),
    row(  8, "offset_commit",           2, 2, 10,     8, api::offset_commit::handle),
    row(  9, "offset_fetch",            1, 1, 10,     6, api::offset_fetch::handle),
    row( 10, "find_coordinator",        0, 0,  6,     3, api::find_coordinator::handle),
    row( 11, "join_group",              0, 0,  9,     6, api::join_group::handle),
    row( 12, "heartbeat",               0, 0,  4,     4, api::heartbeat::handle),
    row( 13, "leave_group",             0, 0,  5,     4, api::leave_group::handle),
    row( 14, "sync_group",              0, 0,  5,     4, api::sync_group::handle),
    row( 15, "describe_groups",         0, 0,  6,     5, api::describe_groups::handle),
    row( 16, "list_groups",             0, 0,  5,     3, api::list_groups::handle),
    row( 18, "api_versions",            0, 0,  4,     3, api::api_versions::handle),
    row( 19, "create_topics",           2, 2,  7,     5, api::create_topics::handle),
    row( 20, "delete_topics",           1, 1,  6,     4, api::delete_topics::handle),
    row( 21, "delete_records",          0, 0,  2,     2, api::delete_records::handle),
    row( 22, "init_producer_id",        0, 0,  5,     2, api::init_producer_id::handle),
    row( 23, "offset_for_leader_epoch", 2, 2,  4,     4, api::offset_for_leader_epoch::handle),
    row( 29, "describe_acls",           1, 1,  3,     2, api::acls::describe),
    row( 30, "create_acls",             1, 1,  3,     2, api::acls::create),
    row( 31, "delete_acls",             1, 1,  3,     2, api::acls::delete),
    row( 32, "describe_configs",        1, 1,  4,     4, api::describe_configs::handle),
    row( 33, "alter_configs",           0, 0,  2,     2, api::alter_configs::handle),
    row( 35, "describe_log_dirs",       1, 1,  4,     2, api::describe_log_dirs::handle),
    row( 37, "create_partitions",       0, 0,  3,     2, api::create_partitions::handle),
    row( 42, "delete_groups",           0, 0,  2,     2, api::delete_groups::handle),
    row( 44, "incremental_alter_configs", 0, 0, 1,    1, api::incremental_alter_configs::handle),
    row( 47, "offset_delete",           0, 0,  0,     1, api::offset_delete::handle),
    row( 60, "describe_cluster",        0, 0,  2,     0, api::describe_cluster::handle),
    row( 68, "consumer_group_heartbeat", 0, 0, 1,     0, api::consumer_group_heartbeat::handle),
];

const fn row(
    key: i16,
    name: &'static str,
    advertised_min: i16,
    min: i16,
    max: i16,
    flexible: i16,
    handle: Handle,
) -> Api {
    assert!(advertised_min <= min && min <= max);
    Api { key, name, advertised_min, min, max, flexible, handle }
}

/// The row of a request kind.
pub fn api_of(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

/// Whether this version of this request, and of its response, is encoded flexibly.
pub fn is_flexible(key: i16, version: i16) -> bool {
    api_of(key).is_some_and(|api| version >= api.flexible)
}
