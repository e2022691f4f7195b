//! The client commands against a server of a few lines, which keeps batches in memory.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use ringmain_engine::format::batch;

use super::client::ClientError;
use super::consume::{self, Consume};
use super::group::{self, GroupCommand};
use super::produce::{self, Produce};
use super::topic::{self, TopicCommand};
use crate::kafka::wire::alter_configs::{AlterConfigsResponse, AlteredResource};
use crate::kafka::wire::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse, GrownTopic};
use crate::kafka::wire::create_topics::{CreateTopicsRequest, CreateTopicsResponse, CreatedTopic};
use crate::kafka::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::kafka::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse, DeletedTopic};
use crate::kafka::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResponse, DescribedConfig, DescribedResource,
};
use crate::kafka::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup};
use crate::kafka::wire::fetch::{FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse};
use crate::kafka::wire::frame::{self, Front};
use crate::kafka::wire::incremental_alter_configs::{ChangedConfig, IncrementalAlterConfigsRequest};
use crate::kafka::wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::kafka::wire::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::kafka::wire::metadata::{MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic};
use crate::kafka::wire::offset_fetch::{
    FetchedGroup, FetchedPartition, FetchedTopic, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::kafka::wire::produce::{
    ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse,
};
use crate::kafka::wire::{Reader, RequestHeader, Writer};

/// Per topic and partition: batches with their end offsets.
type Topics = BTreeMap<String, Vec<Vec<(i64, Bytes)>>>;

/// Serves as many connections as it is told to, one after the other.
struct Server {
    address: String,
    topics: Arc<Mutex<Topics>>,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(connections: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let topics = Arc::new(Mutex::new(Topics::new()));
        let held = topics.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                serve(stream.unwrap(), &mut held.lock().unwrap());
            }
        });
        Server { address, topics, thread }
    }
}

fn serve(mut stream: TcpStream, topics: &mut Topics) {
    let mut input = BytesMut::new();
    let mut buffer = [0; 65536];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        input.extend_from_slice(&buffer[..read]);
        while let Front::Frame(bytes) = frame::take(&mut input, 100 << 20).unwrap() {
            let mut reader = Reader::new(bytes, false);
            let header = RequestHeader::decode(&mut reader, |_, _| true).unwrap();
            let mut writer = frame::begin_response(&header);
            answer(&header, &mut reader, &mut writer, topics);
            assert_eq!(reader.remaining(), 0, "request {}", header.key);
            for piece in frame::finish(writer) {
                stream.write_all(&piece).unwrap();
            }
        }
    }
}

fn answer(header: &RequestHeader, reader: &mut Reader, writer: &mut Writer, topics: &mut Topics) {
    let version = header.version;
    match header.key {
        0 => produced(ProduceRequest::decode(reader, version).unwrap(), topics).encode(writer, version),
        1 => fetched(FetchRequest::decode(reader, version).unwrap(), topics).encode(writer, version),
        2 => offsets(ListOffsetsRequest::decode(reader, version).unwrap(), topics).encode(writer, version),
        3 => metadata(MetadataRequest::decode(reader, version).unwrap(), topics).encode(writer, version),
        9 => committed(OffsetFetchRequest::decode(reader, version).unwrap()).encode(writer, version),
        15 => {
            described_group(DescribeGroupsRequest::decode(reader, version).unwrap()).encode(writer, version)
        }
        16 => {
            ListGroupsRequest::decode(reader, version).unwrap();
            let listed = |name: &str| ListedGroup {
                group_id: name.to_string(),
                group_state: "Empty".to_string(),
                ..Default::default()
            };
            let groups = vec![listed("h"), listed("g")];
            ListGroupsResponse { groups, ..Default::default() }.encode(writer, version);
        }
        42 => {
            let groups = DeleteGroupsRequest::decode(reader, version).unwrap().groups;
            let results = groups.into_iter().map(|group| (group, 68)).collect();
            DeleteGroupsResponse { results, ..Default::default() }.encode(writer, version);
        }
        19 => created(CreateTopicsRequest::decode(reader, version).unwrap(), topics).encode(writer, version),
        37 => {
            let request = CreatePartitionsRequest::decode(reader, version).unwrap();
            grown(&request, topics).encode(writer, version);
        }
        44 => {
            altered(IncrementalAlterConfigsRequest::decode(reader, version).unwrap()).encode(writer, version)
        }
        20 => deleted(DeleteTopicsRequest::decode(reader, version).unwrap(), topics).encode(writer, version),
        32 => described(DescribeConfigsRequest::decode(reader, version).unwrap()).encode(writer, version),
        other => panic!("request {other}"),
    }
}

fn produced(request: ProduceRequest, topics: &mut Topics) -> ProduceResponse {
    assert_eq!(request.acks, -1);
    let topic = &request.topics[0];
    let logs = topics.get_mut(&topic.name).unwrap();
    let partitions = topic.partitions.iter().map(|partition| {
        let log = &mut logs[partition.index as usize];
        let base = log.last().map_or(0, |(end, _)| *end);
        let mut bytes = partition.records.clone().unwrap().to_vec();
        batch::stamp(&mut bytes, base as u64, 0);
        let count = i64::from(batch::check(&bytes).unwrap().records_count.get());
        log.push((base + count, Bytes::from(bytes)));
        ProducePartitionResponse { index: partition.index, ..Default::default() }
    });
    let partitions = partitions.collect();
    let topics = vec![ProduceTopicResponse { name: topic.name.clone(), partitions, ..Default::default() }];
    ProduceResponse { topics, ..Default::default() }
}

fn fetched(request: FetchRequest, topics: &Topics) -> FetchResponse {
    let topic = &request.topics[0];
    let logs = &topics[&topic.name];
    let partitions = topic.partitions.iter().map(|partition| {
        let log = &logs[partition.index as usize];
        let end = log.last().map_or(0, |(end, _)| *end);
        let records =
            log.iter().filter(|(end, _)| *end > partition.fetch_offset).map(|(_, bytes)| bytes.clone());
        FetchPartitionResponse {
            index: partition.index,
            error_code: i16::from(partition.fetch_offset > end),
            high_watermark: end,
            records: records.collect(),
            ..Default::default()
        }
    });
    let partitions = partitions.collect();
    let topics = vec![FetchTopicResponse { name: topic.name.clone(), partitions, ..Default::default() }];
    FetchResponse { topics, ..Default::default() }
}

fn offsets(request: ListOffsetsRequest, topics: &Topics) -> ListOffsetsResponse {
    let topic = &request.topics[0];
    let logs = &topics[&topic.name];
    let partitions = topic.partitions.iter().map(|partition| ListOffsetsPartitionResponse {
        index: partition.index,
        offset: match partition.timestamp {
            -1 => logs[partition.index as usize].last().map_or(0, |(end, _)| *end),
            _ => 0,
        },
        ..Default::default()
    });
    let partitions = partitions.collect();
    let topics = vec![ListOffsetsTopicResponse { name: topic.name.clone(), partitions }];
    ListOffsetsResponse { topics, ..Default::default() }
}

fn metadata(request: MetadataRequest, topics: &mut Topics) -> MetadataResponse {
    let create = request.allow_auto_topic_creation;
    let names: Vec<String> = match request.topics {
        None => topics.keys().cloned().collect(),
        Some(wanted) => wanted.into_iter().map(|topic| topic.name.unwrap()).collect(),
    };
    let found = names.into_iter().map(|name| {
        if create {
            topics.entry(name.clone()).or_insert_with(|| vec![Vec::new(); 4]);
        }
        let count = topics.get(&name).map_or(0, Vec::len) as i32;
        let partitions = (0..count).rev().map(|index| MetadataPartition { index, ..Default::default() });
        let error_code = if topics.contains_key(&name) { 0 } else { 3 };
        MetadataTopic { error_code, name: Some(name), partitions: partitions.collect(), ..Default::default() }
    });
    MetadataResponse { topics: found.collect(), ..Default::default() }
}

fn created(request: CreateTopicsRequest, topics: &mut Topics) -> CreateTopicsResponse {
    let topic = &request.topics[0];
    let exists = topics.contains_key(&topic.name);
    topics.entry(topic.name.clone()).or_insert_with(|| vec![Vec::new(); topic.num_partitions as usize]);
    let error_code = if exists { 36 } else { 0 };
    let error_message = exists.then(|| "it is".to_string());
    let result = CreatedTopic { name: topic.name.clone(), error_code, error_message, ..Default::default() };
    CreateTopicsResponse { topics: vec![result], ..Default::default() }
}

fn deleted(request: DeleteTopicsRequest, topics: &mut Topics) -> DeleteTopicsResponse {
    let name = request.topics[0].name.clone().unwrap();
    let error_code = if topics.remove(&name).is_some() { 0 } else { 3 };
    let result = DeletedTopic { name: Some(name), error_code, ..Default::default() };
    DeleteTopicsResponse { responses: vec![result], ..Default::default() }
}

fn grown(request: &CreatePartitionsRequest, topics: &mut Topics) -> CreatePartitionsResponse {
    let wanted = &request.topics[0];
    let partitions = topics.get_mut(&wanted.name).unwrap();
    let more = wanted.count as usize > partitions.len();
    if more {
        partitions.resize(wanted.count as usize, Vec::new());
    }
    let error_code = if more { 0 } else { 37 };
    let results = vec![GrownTopic { name: wanted.name.clone(), error_code, error_message: None }];
    CreatePartitionsResponse { throttle_time_ms: 0, results }
}

/// Says what it was asked, as if that were a mistake, unless it was to take `b` back.
fn altered(request: IncrementalAlterConfigsRequest) -> AlterConfigsResponse {
    let resource = &request.resources[0];
    let expected = ChangedConfig { name: "b".to_string(), operation: 1, value: None };
    let error_code = if resource.configs == [expected] { 0 } else { 40 };
    let said = resource.configs.iter().map(|config| {
        let value = config.value.as_deref().unwrap_or_default();
        format!("{} {} {value}", config.name, config.operation)
    });
    let error_message = Some(said.collect::<Vec<_>>().join(", "));
    let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
    let resources = vec![AlteredResource { error_code, error_message, resource_type, resource_name }];
    AlterConfigsResponse { throttle_time_ms: 0, resources }
}

fn described(request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let config = |name: &str, source| DescribedConfig {
        name: name.to_string(),
        value: Some("1".to_string()),
        source,
        ..Default::default()
    };
    let result = DescribedResource {
        resource_type: 2,
        resource_name: request.resources[0].resource_name.clone(),
        configs: vec![config("given", 1), config("default", 5)],
        ..Default::default()
    };
    DescribeConfigsResponse { results: vec![result], ..Default::default() }
}

fn committed(request: OffsetFetchRequest) -> OffsetFetchResponse {
    assert_eq!(request.groups[0].topics, None);
    let partitions = vec![FetchedPartition { partition: 2, offset: 3, ..Default::default() }];
    let topics = vec![FetchedTopic { name: "t".to_string(), partitions, ..Default::default() }];
    let groups = vec![FetchedGroup { topics, ..Default::default() }];
    OffsetFetchResponse { groups, ..Default::default() }
}

fn described_group(request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let group_id = request.groups[0].clone();
    let group_state = if group_id == "g" { "Empty" } else { "Dead" }.to_string();
    let groups = vec![DescribedGroup { group_id, group_state, ..Default::default() }];
    DescribeGroupsResponse { groups, ..Default::default() }
}

fn consumed(server: &Server, from: &str, count: u64, format: &str) -> Result<String, ClientError> {
    let (from, format) = (from.parse().unwrap(), format.parse().unwrap());
    let mut out = Vec::new();
    let options = Consume { topic: "t".to_string(), from, count: Some(count), format };
    consume::run(&options, &server.address, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn what_is_produced_is_consumed() {
    let server = Server::start(5);
    let mut options =
        Produce { topic: "t".to_string(), key_separator: Some(":".to_string()), partition: Some(2) };
    let mut produced = 0;
    produce::run(&options, &server.address, &b"a:1\nb:2\nplain\n\nlast"[..], &mut produced).unwrap();
    assert_eq!(produced, 5);
    let text = consumed(&server, "earliest", 5, "%t/%p/%o %k=%v%%").unwrap();
    assert_eq!(text, "t/2/0 a=1%\nt/2/1 b=2%\nt/2/2 =plain%\nt/2/3 =%\nt/2/4 =last%\n");

    options.partition = None;
    produce::run(&options, &server.address, "k:x\n".repeat(100_000).as_bytes(), &mut produced).unwrap();
    assert_eq!(produced, 100_005);
    // All of one key are in one partition, in several batches.
    let held: Vec<usize> = server.topics.lock().unwrap()["t"].iter().map(Vec::len).collect();
    assert_eq!(held.iter().filter(|batches| **batches > 1).count(), 1, "{held:?}");
    let text = consumed(&server, "4", 2, "%o").unwrap();
    assert!(
        text.lines().count() == 2 && text.lines().all(|offset| offset.parse::<i64>().unwrap() >= 4),
        "{text}"
    );
    options.partition = Some(4);
    let refused = produce::run(&options, &server.address, &b"x"[..], &mut produced).unwrap_err();
    assert!(matches!(&refused, ClientError::Usage(text) if text.contains("only 0 to 3")), "{refused}");
    server.thread.join().unwrap();
}

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let server = Server::start(7);
    let run = |command| {
        let mut out = Vec::new();
        topic::run(command, &server.address, &mut out)?;
        Ok::<String, ClientError>(String::from_utf8(out).unwrap())
    };
    let name = || "t".to_string();
    let create = || TopicCommand::Create { name: name(), partitions: Some(2), configs: Vec::new() };
    assert_eq!(run(create()).unwrap(), "");
    assert_eq!(run(create()).unwrap_err().to_string(), "t: the topic exists already (it is)");
    assert_eq!(run(TopicCommand::List).unwrap(), "t\n");
    let described =
        "topic t\npartitions 2\nconfig given=1\npartition 0 offsets 0..0\npartition 1 offsets 0..0\n";
    assert_eq!(run(TopicCommand::Describe { name: name() }).unwrap(), described);
    assert_eq!(run(TopicCommand::Delete { name: name() }).unwrap(), "");
    let gone = run(TopicCommand::Delete { name: name() }).unwrap_err().to_string();
    assert_eq!(gone, "t: no such topic or partition");
    assert!(run(TopicCommand::Describe { name: name() }).is_err());
    server.thread.join().unwrap();
}

#[test]
fn topics_are_altered() {
    let server = Server::start(5);
    let run = |command| topic::run(command, &server.address, &mut Vec::new());
    let alter = |partitions, configs: &[(&str, &str)]| {
        let configs = configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        run(TopicCommand::Alter { name: "t".to_string(), partitions, configs })
    };
    run(TopicCommand::Create { name: "t".to_string(), partitions: Some(2), configs: Vec::new() }).unwrap();
    alter(Some(3), &[("b", "")]).unwrap();
    assert_eq!(server.topics.lock().unwrap()["t"].len(), 3);
    assert_eq!(alter(Some(3), &[]).unwrap_err().to_string(), "t: no such number of partitions");
    let refused = alter(Some(4), &[("a", "1"), ("b", "")]).unwrap_err().to_string();
    assert_eq!(refused, "t: a setting is not known or has no such value (a 0 1, b 1 )");
    assert_eq!(server.topics.lock().unwrap()["t"].len(), 3);
    alter(None, &[("b", "")]).unwrap();
    server.thread.join().unwrap();
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let server = Server::start(5);
    let produce = Produce { topic: "t".to_string(), key_separator: None, partition: Some(2) };
    produce::run(&produce, &server.address, &b"1\n2\n3\n4\n5\n"[..], &mut 0).unwrap();
    let run = |command| {
        let mut out = Vec::new();
        group::run(command, &server.address, &mut out)?;
        Ok::<String, ClientError>(String::from_utf8(out).unwrap())
    };
    let name = |name: &str| name.to_string();
    assert_eq!(run(GroupCommand::List).unwrap(), "g Empty\nh Empty\n");
    let described = "group g\nstate Empty\ntopic t partition 2 committed 3 end 5 lag 2\n";
    assert_eq!(run(GroupCommand::Describe { name: name("g") }).unwrap(), described);
    let gone = run(GroupCommand::Describe { name: name("none") }).unwrap_err().to_string();
    assert_eq!(gone, "none: no such group");
    let refused = run(GroupCommand::Delete { name: name("g") }).unwrap_err().to_string();
    assert_eq!(refused, "g: the group has members");
    server.thread.join().unwrap();
}

#[test]
fn servers_that_are_not_there_or_something_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 16];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let mut out = Vec::new();
    let error = topic::run(TopicCommand::List, &address, &mut out).unwrap_err();
    assert!(matches!(error, ClientError::Unexpected(_)), "{error}");
    thread.join().unwrap();
    let error = topic::run(TopicCommand::List, &address, &mut out).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");
}
