//! DescribeLogDirs: asks every core what its logs hold, or, where each core is a broker, this one: a client that wants all
//! of them asks every broker. There is one directory.

use std::collections::{BTreeMap, BTreeSet};

use ringmain_engine::types::LogId;

use super::partition::log_of;
use crate::broker::catalog::{Topic, shard_of};
use crate::broker::command::{Command, Event};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, LogDir, LogDirPartition, LogDirTopic, UNKNOWN,
};
use crate::kafka::wire::{Reader, WireError};

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = DescribeLogDirsRequest::decode(body, call.header.version)?;
    let own = call.cx.session.core;
    let all = call.cx.settings.cores;
    let cores = if call.cx.settings.nodes.are_cores() { own..own + 1 } else { 0..all };
    let mut asked: Vec<Asked> = cores.clone().map(|_| Asked::default()).collect();
    let mut describing = Describing { missing: asked.len(), free_bytes: None, ..Describing::default() };
    for (name, indexes) in wanted(request, call) {
        let Some(topic) = call.cx.catalog.topic(&name) else { continue };
        let mut partitions = Vec::new();
        for index in indexes {
            let Ok(log) = log_of(topic, index) else { continue };
            let core = shard_of(log, all).checked_sub(cores.start);
            let Some(asked) = core.and_then(|core| asked.get_mut(usize::from(core))) else { continue };
            asked.logs.push(log);
            asked.places.push((describing.topics.len(), partitions.len()));
            partitions.push(LogDirPartition { index, size_bytes: UNKNOWN, ..Default::default() });
        }
        describing.topics.push(LogDirTopic { name, partitions });
    }
    for (core, Asked { logs, places }) in cores.zip(asked) {
        call.ask(Command::Sizes { core, logs });
        describing.places.push(places);
    }
    Ok(Handled::Later(Box::new(describing)))
}

/// Each partition that is asked for, once.
fn wanted(request: DescribeLogDirsRequest, call: &Call<'_, '_>) -> BTreeMap<String, BTreeSet<i32>> {
    let mut wanted: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    let Some(topics) = request.topics else {
        let all = |topic: &Topic| (topic.name.clone(), (0..topic.partitions.len() as i32).collect());
        return call.cx.catalog.topics().map(all).collect();
    };
    for (name, partitions) in topics {
        wanted.entry(name).or_default().extend(partitions);
    }
    wanted
}

/// What one core is asked for.
#[derive(Default)]
struct Asked {
    logs: Vec<LogId>,
    /// Topic and partition in the response, by log.
    places: Vec<(usize, usize)>,
}

/// Waits for every core that was asked. `missing` cores have not answered yet.
#[derive(Default)]
struct Describing {
    topics: Vec<LogDirTopic>,
    /// Topic and partition, by number of the command and by log.
    places: Vec<Vec<(usize, usize)>>,
    missing: usize,
    free_bytes: Option<u64>,
}

impl Describing {
    fn reply(&mut self, call: &Call<'_, '_>) -> Reply {
        let mut topics = std::mem::take(&mut self.topics);
        for topic in &mut topics {
            topic.partitions.retain(|partition| partition.size_bytes != UNKNOWN);
        }
        topics.retain(|topic| !topic.partitions.is_empty());
        let directory = LogDir {
            error_code: ErrorCode::None.code(),
            path: call.cx.settings.data_dir.clone(),
            topics,
            total_bytes: UNKNOWN,
            usable_bytes: self.free_bytes.map_or(UNKNOWN, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        };
        let error_code = ErrorCode::None.code();
        let response = DescribeLogDirsResponse { throttle_time_ms: 0, error_code, results: vec![directory] };
        let mut writer = call.response();
        response.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }
}

impl Pending for Describing {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Sizes(sizes) = event else { return Some(Reply::Close) };
        for ((topic, partition), bytes) in self.places.get(index as usize)?.iter().zip(sizes.bytes) {
            let Some(bytes) = bytes else { continue };
            let topic = self.topics.get_mut(*topic)?;
            topic.partitions.get_mut(*partition)?.size_bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        }
        self.free_bytes = self.free_bytes.into_iter().chain(sizes.free_bytes).min();
        self.missing -= 1;
        (self.missing == 0).then(|| self.reply(call))
    }
}
