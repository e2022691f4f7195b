//! A place to load: a topic, queues or streams on a broker, and the connections of each kind of work on them.
//!
//! In: what the load is. Out: a tally of each piece of work. Never: begins to count before every connection is set up.

use std::time::{Duration, Instant};

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;

use super::drive::{Lane, Run, drive};
use super::plan::Plan;
use super::tally::Tally;
use super::window::{Patch, Window};
use super::{amqp, kafka, nats};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::wire;

/// Time between setting up and the first request, so that all connections begin together.
const LEAD: Duration = Duration::from_millis(20);
/// What a consumer gets to read for each second of its run when it brings no topic of its own: Kafka's batches are
/// read again and again, messages are gone once they are read.
const FILL_BYTES_PER_SECOND: u64 = 64 << 20;
const FILL_MESSAGES_BYTES_PER_SECOND: u64 = 96 << 20;
const FILL_BYTES_MAX: u64 = 1 << 30;
/// A slow broker gets less to read.
const FILL_TIME_MAX: Duration = Duration::from_secs(8);
/// A count of records that takes longer than this ends early.
const COUNTED_TIME_MAX: Duration = Duration::from_secs(120);
/// Asked for at a time.
const FETCH_BYTES: i32 = 1 << 20;
/// The most that a prefetch can be.
const PREFETCH_MAX: u64 = 65_535;

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Kafka,
    Amqp,
    Nats,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Kafka => "kafka",
            Protocol::Amqp => "amqp",
            Protocol::Nats => "nats",
        }
    }
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Load {
    pub protocol: Protocol,
    pub target: String,
    pub connections: u64,
    /// Requests that wait for an answer, or deliveries that wait for their acknowledgement, per connection.
    pub in_flight: u64,
    pub batch_bytes: u64,
    pub record_bytes: u64,
    /// Partitions, queues or streams.
    pub partitions: u64,
    pub seconds: u64,
    pub warm_up: Duration,
    /// Requests per second over all connections, or none: as fast as the answers come.
    pub rate: Option<u64>,
    /// Connect to the leader of each partition, as Metadata names it, instead of to the target (Kafka).
    pub follow_leaders: bool,
    /// A topic that is there already.
    pub topic: Option<String>,
    /// `x-queue-type` of the queues made.
    pub queue_kind: Option<String>,
    /// Deliveries acknowledged at once.
    pub ack_every: u64,
}

impl Load {
    pub(super) fn run(&self) -> Run {
        let time = Duration::from_secs(self.seconds);
        Run { begin: Instant::now() + LEAD, warm_up: self.warm_up, time }
    }

    /// The partition of connection `number` (Kafka). Where there are enough connections, two in a row share one: a
    /// server that deals connections out to two cores then gets each partition's requests on both, whichever core the
    /// first connection falls to.
    fn partition(&self, number: u64) -> u64 {
        let sharing = if self.connections >= 2 * self.partitions { 2 } else { 1 };
        number / sharing % self.partitions
    }

    /// The plan of lane `number`: begun one after the other, so that they do not all send at the same moments.
    pub(super) fn plan(&self, rate: u64, number: u64, begin: Instant) -> Plan {
        let pace = Duration::from_secs_f64(self.connections as f64 / rate as f64);
        Plan::new(begin + pace.mul_f64(number as f64 / self.connections as f64), pace)
    }

    fn payload(&self) -> Vec<u8> {
        // Not all the same byte, so that nothing on the way finds it easy; the same each run.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..self.record_bytes).map(|_| next()).collect()
    }

    fn records_per_batch(&self) -> u64 {
        u64::from(self.batch().header().records_count.get().unsigned_abs())
    }

    /// As many records as `batch_bytes` holds, but at least one.
    pub fn batch(&self) -> CheckedBatch {
        let value = self.payload();
        let now_ms = wire::kafka::now_ms();
        let mut builder = BatchBuilder::new(now_ms);
        let mut record_bytes = 0;
        while builder.is_empty() || builder.len() + record_bytes <= self.batch_bytes as usize {
            let before = builder.len();
            builder.push(now_ms, None, Some(&value), &[]);
            record_bytes = builder.len() - before;
        }
        builder.finish()
    }
}

/// Where the requests of a Kafka producer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// To its partition, which somebody else counts on.
    One,
    /// To all partitions in turn, unless leaders are followed.
    Round,
}

/// Which partition each request of a Kafka producer is for that goes round all of them, as that of a client with records for
/// every partition does. One that stayed with a partition would have all or none of its requests passed on by a server of two
/// cores.
#[derive(Clone, Copy, Debug)]
struct Round {
    first: u64,
    partitions: u64,
}

impl Round {
    /// That of connection `number`: all begin apart from each other.
    fn of(load: &Load, number: u64) -> Round {
        Round { first: number * load.partitions / load.connections, partitions: load.partitions }
    }

    fn partition(self, request: u64) -> i32 {
        (self.first.wrapping_add(request) % self.partitions) as i32
    }
}

/// What was made on the broker; it goes when this goes.
enum Made {
    Topic(wire::kafka::Topic),
    Queues(wire::amqp::Queues),
    Streams(wire::nats::Streams),
    /// It was there before.
    Found(String),
}

/// A broker with something to load.
pub struct Place {
    made: Made,
    /// By partition; none where leaders are not followed.
    leaders: Vec<String>,
    /// What each partition, queue or stream holds: Kafka offsets, or messages.
    filled: Vec<u64>,
}

impl Place {
    /// Makes the topic, queues or streams, and waits until they take records.
    pub fn prepare(load: &Load) -> Result<Place, Failure> {
        Place::prepare_with(load, &[])
    }

    /// The same with settings of the topic (Kafka).
    pub fn prepare_with(load: &Load, settings: &[(&str, &str)]) -> Result<Place, Failure> {
        if load.follow_leaders && load.protocol != Protocol::Kafka {
            return Err(Failure::Usage("only Kafka's protocol tells who leads what".to_owned()));
        }
        if load.follow_leaders && load.connections < load.partitions {
            let reason = "a connection that goes round partitions cannot follow their leaders";
            return Err(Failure::Usage(reason.to_owned()));
        }
        let mut leaders = Vec::new();
        let made = match (load.protocol, &load.topic) {
            (_, Some(name)) => {
                if load.follow_leaders {
                    let mut connection = wire::kafka::Connection::open(&load.target)?;
                    leaders = wire::leaders::leaders(&mut connection, name, load.partitions)?;
                }
                Made::Found(name.clone())
            }
            (Protocol::Kafka, None) => {
                let mut topic = wire::kafka::Topic::create_with(&load.target, load.partitions, settings)?;
                if load.follow_leaders {
                    leaders = topic.leaders(load.partitions)?;
                    topic.settle_at(&leaders, load.batch().bytes())?;
                } else {
                    topic.settle(load.partitions, load.batch().bytes())?;
                }
                Made::Topic(topic)
            }
            (Protocol::Amqp, None) => {
                let kind = wire::amqp::QueueKind { kind: load.queue_kind.clone() };
                Made::Queues(wire::amqp::Queues::create(&load.target, load.partitions, &kind)?)
            }
            (Protocol::Nats, None) => {
                Made::Streams(wire::nats::Streams::create(&load.target, load.partitions)?)
            }
        };
        Ok(Place { made, leaders, filled: vec![0; load.partitions as usize] })
    }

    /// Leaves what was made where it is: its server is gone or about to go.
    pub fn abandon(mut self) {
        let made = std::mem::replace(&mut self.made, Made::Found(String::new()));
        std::mem::forget(made);
    }

    /// The name of its topic, or of its first queue or stream.
    pub fn topic(&self) -> &str {
        self.name(0)
    }

    /// Where the requests for this partition go.
    fn target<'a>(&'a self, load: &'a Load, partition: u64) -> &'a str {
        self.leaders.get(partition as usize).unwrap_or(&load.target)
    }

    fn name(&self, number: u64) -> &str {
        match &self.made {
            Made::Topic(topic) => topic.name(),
            Made::Queues(queues) => queues.name(number),
            Made::Streams(streams) => streams.name(number),
            Made::Found(name) => name,
        }
    }

    /// Produces for the time of the load.
    pub fn produce(&mut self, load: &Load, interrupt: &Interrupt) -> Result<Tally, Failure> {
        let run = load.run();
        let mut lanes = Vec::new();
        for number in 0..load.connections {
            let plan = load.rate.map(|rate| (load.plan(rate, number, run.begin), run.end()));
            lanes.push(self.producer(load, number, Aim::Round, plan, None)?);
        }
        drive(lanes, run, interrupt)
    }

    /// Produces `records` in all, however long it takes; a part of a batch counts as a whole one.
    pub fn produce_records(
        &mut self,
        load: &Load,
        records: u64,
        interrupt: &Interrupt,
    ) -> Result<Tally, Failure> {
        let per_request = if load.protocol == Protocol::Kafka { load.records_per_batch() } else { 1 };
        let requests = records.div_ceil(per_request * load.connections);
        let mut lanes = Vec::new();
        for number in 0..load.connections {
            lanes.push(self.producer(load, number, Aim::Round, None, Some(requests))?);
        }
        drive(
            lanes,
            Run { begin: Instant::now(), warm_up: Duration::ZERO, time: COUNTED_TIME_MAX },
            interrupt,
        )
    }

    /// Puts something to read into every partition, queue or stream, one after the other, as long as that takes no
    /// longer than [`FILL_TIME_MAX`] in all.
    pub fn fill(&mut self, load: &Load, interrupt: &Interrupt) -> Result<(), Failure> {
        let bytes_per_second = match load.protocol {
            Protocol::Kafka => FILL_BYTES_PER_SECOND,
            Protocol::Amqp | Protocol::Nats => FILL_MESSAGES_BYTES_PER_SECOND,
        };
        let bytes = FILL_BYTES_MAX.min(load.seconds * bytes_per_second);
        self.fill_to(load, bytes, FILL_TIME_MAX, interrupt)
    }

    /// The same with `bytes` in all, and no longer than `time_max`.
    pub fn fill_to(
        &mut self,
        load: &Load,
        bytes: u64,
        time_max: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let (per_request, in_flight) = match load.protocol {
            Protocol::Kafka => (load.records_per_batch(), 8),
            Protocol::Amqp | Protocol::Nats => (1, 500),
        };
        let records = (bytes / load.partitions / load.record_bytes).max(1);
        // One lane for each partition.
        let filling = Load { in_flight, connections: load.partitions, ..load.clone() };
        // A new topic took one batch when it was tried.
        let before = if matches!(self.made, Made::Topic(_)) { per_request } else { 0 };
        for number in 0..load.partitions {
            let time = time_max / load.partitions as u32;
            let run = Run { begin: Instant::now(), warm_up: Duration::ZERO, time };
            let lane =
                self.producer(&filling, number, Aim::One, None, Some(records.div_ceil(per_request)))?;
            let tally = drive(vec![lane], run, interrupt)?;
            if let Some(count) = self.filled.get_mut(number as usize) {
                *count += tally.records + before;
            }
        }
        Ok(())
    }

    /// Reads for the time of the load; queues and streams at most until all is read.
    pub fn consume(&mut self, load: &Load, interrupt: &Interrupt) -> Result<Tally, Failure> {
        let run = load.run();
        let mut lanes = Vec::new();
        for number in 0..load.connections {
            lanes.push(self.consumer(load, number, None)?);
        }
        drive(lanes, run, interrupt)
    }

    /// Produces at `rate` and consumes what was produced: latencies are from the planned time of a produce to the
    /// arrival of its records at the consumer.
    pub fn follow(&mut self, load: &Load, rate: u64, interrupt: &Interrupt) -> Result<Tally, Failure> {
        if load.connections != load.partitions || load.topic.is_some() || load.protocol == Protocol::Nats {
            let reason = "consuming at a rate needs as many --partitions as --connections, and no --topic";
            return Err(Failure::Usage(reason.to_owned()));
        }
        let run = load.run();
        let (mut producers, mut consumers) = (Vec::new(), Vec::new());
        for number in 0..load.connections {
            let plan = load.plan(rate, number, run.begin);
            producers.push(self.producer(load, number, Aim::One, Some((plan, run.end())), None)?);
            consumers.push(self.consumer(load, number, Some((plan, plan.count_until(run.end()))))?);
        }
        std::thread::scope(|scope| {
            let producing = scope.spawn(|| drive(producers, run, interrupt));
            let read = drive(consumers, run, interrupt);
            // A reader sees that nothing comes; the producer knows why.
            producing.join().unwrap_or(Err(Failure::Interrupted))?;
            read
        })
    }

    pub(super) fn producer(
        &self,
        load: &Load,
        number: u64,
        aim: Aim,
        plan: Option<(Plan, Instant)>,
        count: Option<u64>,
    ) -> Result<Lane, Failure> {
        let name = self.name(number);
        let ready = |frame: &[u8], counts, patch: Patch| {
            let mut window = Window::new(frame, load.in_flight, counts, patch);
            plan.into_iter().for_each(|(plan, end)| window.follow(plan, end));
            count.into_iter().for_each(|count| window.stop_after(count));
            window
        };
        match load.protocol {
            Protocol::Kafka => {
                let batch = load.batch();
                let partition = load.partition(number);
                let frame = wire::kafka::produce(name, partition as i32, batch.bytes());
                let records = u64::from(batch.header().records_count.get().unsigned_abs());
                let at = wire::kafka::partition_at(&frame, batch.bytes().len());
                let round = (aim == Aim::Round && !load.follow_leaders).then(|| Round::of(load, number));
                let patch = Box::new(move |frame: &mut [u8], number| {
                    wire::kafka::patch(frame, number as i32);
                    if let Some(round) = round {
                        wire::kafka::patch_partition(frame, at, round.partition(number));
                    }
                });
                let window = ready(&frame, (records, batch.bytes().len() as u64), patch);
                let target = self.target(load, partition);
                let stream = wire::kafka::Connection::open(target)?.into_stream();
                Lane::new(stream, target, Box::new(kafka::Producer::new(window, name)), &[])
            }
            Protocol::Amqp => {
                let mut connection = wire::amqp::Connection::open(&load.target)?;
                connection.confirm()?;
                let (frame, at) = wire::amqp::publish(name, &load.payload());
                let patch = Box::new(move |frame: &mut [u8], number: u64| {
                    if let Some(place) = frame.get_mut(at..at + 8) {
                        place.copy_from_slice(&number.to_be_bytes());
                    }
                });
                let window = ready(&frame, (1, load.record_bytes), patch);
                let (stream, received) = connection.into_parts();
                Lane::new(stream, &load.target, Box::new(amqp::Publisher::new(window)), &received)
            }
            Protocol::Nats => {
                let connection = wire::nats::Connection::open(&load.target, &format!("{name}-{number}"))?;
                let (frame, at) = wire::nats::publish(name, connection.inbox(), &load.payload());
                let patch = Box::new(move |frame: &mut [u8], number| wire::nats::patch(frame, at, number));
                let window = ready(&frame, (1, load.record_bytes), patch);
                let (stream, received) = connection.into_parts();
                Lane::new(stream, &load.target, Box::new(nats::Publisher::new(window)), &received)
            }
        }
    }

    pub(super) fn consumer(
        &self,
        load: &Load,
        number: u64,
        planned: Option<(Plan, u64)>,
    ) -> Result<Lane, Failure> {
        let name = self.name(number);
        // What others put there is not known, and so only its lengths and order are checked.
        let body = (!matches!(self.made, Made::Found(_))).then(|| load.payload());
        let filled = |partition: u64| {
            let count = self.filled.get(partition as usize).copied();
            count.filter(|count| *count > 0)
        };
        match load.protocol {
            Protocol::Kafka => {
                let (records, partition) = (load.records_per_batch(), load.partition(number));
                // A new topic took one batch when it was tried; what is planned comes behind it.
                let from = if planned.is_some() { records as i64 } else { 0 };
                let reading = kafka::Reading {
                    topic: name.to_owned(),
                    partition: partition as i32,
                    from,
                    fetch_bytes: FETCH_BYTES,
                    again_at: filled(partition).map(|end| end as i64),
                    planned: planned.map(|(plan, requests)| kafka::Planned {
                        plan,
                        records_per_request: records,
                        requests,
                    }),
                };
                let target = self.target(load, partition);
                let stream = wire::kafka::Connection::open(target)?.into_stream();
                Lane::new(stream, target, Box::new(kafka::Consumer::new(reading)), &[])
            }
            Protocol::Amqp => {
                let mut connection = wire::amqp::Connection::open(&load.target)?;
                connection.consume(name, load.in_flight.min(PREFETCH_MAX) as u16)?;
                let (stream, received) = connection.into_parts();
                let filled = filled(number % load.partitions);
                // What several consumers of a queue get depends on the others, so none can know its end.
                let alone = load.connections <= load.partitions;
                let reading = amqp::Reading {
                    ack_every: load.ack_every,
                    body,
                    count: planned.map(|(_, requests)| requests).or(filled.filter(|_| alone)),
                    planned: planned.map(|(plan, _)| plan),
                };
                Lane::new(stream, &load.target, Box::new(amqp::Consumer::new(reading)), &received)
            }
            Protocol::Nats => {
                let mut connection =
                    wire::nats::Connection::open(&load.target, &format!("{name}-c{number}"))?;
                let deliver = connection.deliver_here()?;
                let config = format!(
                    "{{\"stream_name\":\"{name}\",\"config\":{{\"deliver_subject\":\"{deliver}\",\
                     \"deliver_policy\":\"all\",\"ack_policy\":\"explicit\",\"max_ack_pending\":{}}}}}",
                    load.in_flight
                );
                connection.call(&format!("CONSUMER.CREATE.{name}"), &config)?;
                let (stream, received) = connection.into_parts();
                Lane::new(
                    stream,
                    &load.target,
                    Box::new(nats::Consumer::new(filled(number % load.partitions), body)),
                    &received,
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_round_all_partitions_and_begin_apart() {
        let round = |number: u64, partitions: u64| -> Vec<i32> {
            let round = Round { first: number * partitions / 4, partitions };
            (0..4).map(|request| round.partition(request)).collect()
        };
        assert_eq!((round(0, 4), round(1, 4)), (vec![0, 1, 2, 3], vec![1, 2, 3, 0]));
        assert_eq!((round(1, 10), round(3, 10)), (vec![2, 3, 4, 5], vec![7, 8, 9, 0]));
    }
}
