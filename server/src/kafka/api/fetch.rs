//! Fetch: whole batches from many partitions, at once or as soon as there is enough.
//!
//! Every fetch is a full one: a client that offers a session is told there is none, which the protocol allows.
//!
//! ```text
//!   unread --wave--> reading --empty--> watching --readable--> reading
//!                       |                   |
//!                       +--data--> idle <---+ deadline: answered as it is
//! ```
//!
//! Partitions are read in waves, in the order of the request, each wave as wide as the bytes still allowed. When
//! all were read and there is less than `min_bytes`, those that had nothing are watched and the others read on.

use ringmain_engine::types::LogId;

use super::clip::{self, Clip};
use super::partition::{check_leader_epoch, log_of, topic_of};
use crate::broker::command::{Command, Event, ReadData, ReadError, SeekTo};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::fetch::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
};
use crate::kafka::wire::{Reader, WireError};

/// Record bytes of one response, whatever the client allows: what one connection may make the broker hold.
pub const FETCH_BYTES_MAX: usize = 16 << 20;

/// The isolation level of consumers that want no aborted records; there are none.
const READ_COMMITTED: i8 = 1;
/// What stands where there is no offset.
const NONE: i64 = -1;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = FetchRequest::decode(body, call.header.version)?;
    if request.session_epoch > 0 {
        return Ok(no_session(call));
    }
    let mut fetching = Fetching::new(&request, call);
    for asked in request.topics {
        let topic = topic_of(call.cx.catalog, &asked.name, &asked.id);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in &asked.partitions {
            let result = topic.and_then(|topic| {
                check_leader_epoch(partition.current_leader_epoch)?;
                let from = u64::try_from(partition.fetch_offset).ok().ok_or(ErrorCode::OffsetOutOfRange)?;
                Ok((log_of(topic, partition.index)?, from))
            });
            let error = match result {
                Ok((log, from)) => {
                    let place = (fetching.response.topics.len(), partitions.len());
                    fetching.places.push(place);
                    fetching.cells.push(Cell::new(log, from, partition));
                    ErrorCode::None
                }
                Err(error) => error,
            };
            // As in Apache Kafka, what is not there does not end the wait for the rest.
            fetching.refused |= !matches!(
                error,
                ErrorCode::None | ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId
            );
            partitions.push(empty(partition.index, error, request.isolation_level));
        }
        let answered = FetchTopicResponse { name: asked.name, id: asked.id, partitions };
        fetching.response.topics.push(answered);
    }
    Ok(match fetching.advance(call) {
        Some(reply) => Handled::Now(reply),
        None => Handled::Later(Box::new(fetching)),
    })
}

/// The client goes on with a session nobody has opened; it begins again with a full fetch.
fn no_session(call: &Call<'_, '_>) -> Handled {
    let error_code = ErrorCode::FetchSessionIdNotFound.code();
    let mut writer = call.response();
    FetchResponse { error_code, ..Default::default() }.encode(&mut writer, call.header.version);
    Handled::answer(writer)
}

fn empty(index: i32, error: ErrorCode, isolation_level: i8) -> FetchPartitionResponse {
    FetchPartitionResponse {
        index,
        error_code: error.code(),
        high_watermark: NONE,
        last_stable_offset: NONE,
        log_start_offset: NONE,
        aborted_transactions: (isolation_level == READ_COMMITTED).then(Vec::new),
        preferred_read_replica: -1,
        records: Vec::new(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not asked for yet.
    Unread,
    /// A command is on its way.
    Reading,
    /// There was nothing; an event comes when there is.
    Watching,
    /// There was something, or an error.
    Idle,
}

/// One partition that is read.
struct Cell {
    log: LogId,
    from: u64,
    /// At least 1.
    bytes_max: usize,
    bytes: usize,
    state: State,
}

impl Cell {
    fn new(log: LogId, from: u64, partition: &FetchPartition) -> Cell {
        let bytes_max = usize::try_from(partition.partition_max_bytes).unwrap_or(0).max(1);
        Cell { log, from, bytes_max, bytes: 0, state: State::Unread }
    }
}

/// Waits for reads, then for enough bytes or the deadline.
struct Fetching {
    response: FetchResponse,
    /// By the index of the command; those before `unread` were asked for.
    cells: Vec<Cell>,
    /// Topic and partition in the response, by cell.
    places: Vec<(usize, usize)>,
    unread: usize,
    /// Cells whose state is reading.
    reading: usize,
    /// Sum over the cells; may exceed `bytes_max`, and is clipped in the answer.
    bytes: usize,
    bytes_max: usize,
    bytes_min: usize,
    /// Whether to wait at all.
    patient: bool,
    /// `None` once it has come.
    deadline_us: Option<u64>,
    /// A partition has an error, which is not kept waiting.
    refused: bool,
}

impl Fetching {
    fn new(request: &FetchRequest, call: &Call<'_, '_>) -> Fetching {
        let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
        let bytes_of = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        Fetching {
            response: FetchResponse::default(),
            cells: Vec::new(),
            places: Vec::new(),
            unread: 0,
            reading: 0,
            bytes: 0,
            bytes_max: bytes_of(request.max_bytes).clamp(1, FETCH_BYTES_MAX),
            bytes_min: bytes_of(request.min_bytes),
            patient: wait_ms > 0 && request.min_bytes > 0,
            deadline_us: Some(call.cx.now.monotonic_us + wait_ms * 1000),
            refused: false,
        }
    }

    /// Asks for what is still to be read, or answers when nothing is and there is enough.
    fn advance(&mut self, call: &mut Call<'_, '_>) -> Option<Reply> {
        if self.reading == 0 && self.unread < self.cells.len() {
            self.begin_wave(call);
        }
        if self.reading > 0 {
            return None;
        }
        let over = !self.patient || self.deadline_us.is_none() || self.refused || self.cells.is_empty();
        if over || self.bytes >= self.bytes_min.min(self.bytes_max) {
            return Some(self.answer(call));
        }
        self.read_on(call);
        None
    }

    /// Reads the next partitions, as many as the bytes still allowed can be for; at the end of the bytes, only
    /// where the others end.
    fn begin_wave(&mut self, call: &mut Call<'_, '_>) {
        let mut planned = self.bytes;
        while let Some(cell) = self.cells.get_mut(self.unread) {
            let room = self.bytes_max.saturating_sub(planned);
            if room == 0 && planned > self.bytes {
                break;
            }
            let log = cell.log;
            let command = if room == 0 {
                Command::Seek { log, to: SeekTo::HighWatermark }
            } else {
                let bytes_max = cell.bytes_max.min(room);
                planned += bytes_max;
                Command::Read { log, from: cell.from, bytes_max: bytes_max as u32, watch: self.patient }
            };
            cell.state = State::Reading;
            call.ask(command);
            self.unread += 1;
            self.reading += 1;
        }
    }

    /// Reads behind what was found, so that every partition is watched that may still give something.
    fn read_on(&mut self, call: &mut Call<'_, '_>) {
        let room = self.bytes_max.saturating_sub(self.bytes).max(1);
        for (index, cell) in self.cells.iter_mut().enumerate() {
            if cell.state == State::Idle && cell.bytes < cell.bytes_max {
                let bytes_max = (cell.bytes_max - cell.bytes).min(room) as u32;
                let command = Command::Read { log: cell.log, from: cell.from, bytes_max, watch: true };
                call.ask_again(index as u32, command);
                cell.state = State::Reading;
                self.reading += 1;
            }
        }
    }

    /// Takes in what one read found.
    fn take(&mut self, index: u32, result: Result<ReadData, ReadError>) {
        let place = self.places.get(index as usize).copied();
        let Some((cell, answered)) = self.cells.get_mut(index as usize).zip(place.and_then(|(topic, at)| {
            self.response.topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(at))
        })) else {
            return;
        };
        cell.state = State::Idle;
        match result {
            Ok(data) => {
                answered.high_watermark = data.high_watermark as i64;
                answered.last_stable_offset = data.high_watermark as i64;
                answered.log_start_offset = data.log_start as i64;
                let found: usize = data.batches.iter().map(|piece| piece.len()).sum();
                if found == 0 && self.patient {
                    cell.state = State::Watching;
                }
                cell.bytes += found;
                self.bytes += found;
                if self.bytes < self.bytes_min {
                    cell.from = clip::end_offset(&data.batches).unwrap_or(cell.from);
                }
                answered.records.extend(data.batches);
            }
            Err(error) => {
                answered.error_code = ErrorCode::from(&error).code();
                self.refused = true;
            }
        }
    }

    /// Takes in where a partition ends that was not read.
    fn take_end(&mut self, index: u32, end: Option<u64>) {
        let place = self.places.get(index as usize).copied();
        if let Some(answered) = place.and_then(|(topic, at)| {
            self.response.topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(at))
        }) {
            answered.high_watermark = end.map_or(NONE, |end| end as i64);
            answered.last_stable_offset = answered.high_watermark;
        }
        if let Some(cell) = self.cells.get_mut(index as usize) {
            cell.state = State::Idle;
        }
    }

    /// Ends the watches and answers in the order of the request, no more than the client allows.
    fn answer(&mut self, call: &mut Call<'_, '_>) -> Reply {
        self.unwatch(call);
        let mut clip = Clip::new(self.bytes_max, call.header.version);
        for (cell, (topic, at)) in self.cells.iter().zip(&self.places) {
            let Some(topic) = self.response.topics.get_mut(*topic) else { continue };
            let Some(answered) = topic.partitions.get_mut(*at) else { continue };
            let records = std::mem::take(&mut answered.records);
            match clip.records(records, cell.bytes_max) {
                Ok(records) => answered.records = records,
                Err(error) => answered.error_code = error.code(),
            }
        }
        let mut writer = call.response();
        self.response.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }

    fn unwatch(&mut self, call: &mut Call<'_, '_>) {
        for (index, cell) in self.cells.iter_mut().enumerate() {
            let watches = cell.state == State::Watching || (cell.state == State::Reading && self.patient);
            if watches {
                call.ask_again(index as u32, Command::Unwatch { log: cell.log });
                cell.state = State::Idle;
            }
        }
    }

    /// There is something where there was nothing.
    fn read_again(&mut self, index: u32, call: &mut Call<'_, '_>) {
        let room = self.bytes_max.saturating_sub(self.bytes).max(1);
        let Some(cell) = self.cells.get_mut(index as usize) else { return };
        if cell.state == State::Watching {
            let bytes_max = cell.bytes_max.saturating_sub(cell.bytes).clamp(1, room) as u32;
            let command = Command::Read { log: cell.log, from: cell.from, bytes_max, watch: true };
            call.ask_again(index, command);
            cell.state = State::Reading;
            self.reading += 1;
        }
    }
}

impl Pending for Fetching {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        match event {
            Event::Read(result) => self.take(index, result),
            Event::Sought(result) => self.take_end(index, result.ok().and_then(|sought| sought.offset)),
            Event::Readable => {
                self.read_again(index, call);
                return None;
            }
            _ => return None,
        }
        self.reading -= 1;
        self.advance(call)
    }

    fn deadline_us(&self) -> Option<u64> {
        self.deadline_us.filter(|_| self.patient)
    }

    fn on_time(&mut self, call: &mut Call<'_, '_>) -> Option<Reply> {
        self.deadline_us = None;
        self.advance(call)
    }

    fn on_close(&mut self, call: &mut Call<'_, '_>) {
        self.unwatch(call);
    }
}
