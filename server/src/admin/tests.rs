//! A connection as its peer sees it.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use ringmain_engine::types::Now;

use super::Session;
use crate::broker::catalog::Catalog;
use crate::broker::command::{Command, Event, Request, SessionId};
use crate::broker::context::{Context, Output, Random};
use crate::broker::metrics::CoreStatus;
use crate::broker::nodes::Nodes;
use crate::broker::settings::Settings;

struct Peer {
    session: Session,
    input: BytesMut,
    settings: Settings,
    catalog: Catalog,
    requests: Vec<Request>,
    output: Output,
    now: Now,
}

impl Peer {
    fn new() -> Peer {
        Peer {
            session: Session::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
            input: BytesMut::new(),
            settings: settings(),
            catalog: Catalog::new(),
            requests: Vec::new(),
            output: Output::default(),
            now: Now::default(),
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Session, &mut BytesMut, &mut Context<'_>)) {
        let mut cx = Context {
            short_of_room: false,
            now: self.now,
            session: SessionId { core: 0, slot: 0, generation: 0 },
            catalog: &self.catalog,
            settings: &self.settings,
            requests: &mut self.requests,
            output: &mut self.output,
            random: &mut Random(1),
        };
        call(&mut self.session, &mut self.input, &mut cx);
    }

    fn send(&mut self, bytes: &str) {
        self.input.extend_from_slice(bytes.as_bytes());
        self.call(|session, input, cx| session.on_bytes(input, cx));
    }

    /// Every core asked so far answers, the last first.
    fn cores_answer(&mut self, failure: Option<&str>) {
        while let Some(request) = self.requests.pop() {
            let Command::Status { core } = request.command else { panic!("{:?}", request.command) };
            let failure = failure.filter(|_| core == 1).map(str::to_string);
            let event = Event::Status(Box::new(CoreStatus { failure, ..CoreStatus::default() }));
            self.call(|session, _, cx| session.on_event(request.ticket, event, cx));
        }
    }

    fn received(&mut self) -> String {
        let bytes: Vec<u8> = self.output.chunks.drain(..).flatten().collect();
        String::from_utf8(bytes).unwrap()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn settings() -> Settings {
    Settings {
        cluster_id: "cluster".to_string(),
        nodes: Nodes::new(1, "127.0.0.1".to_string(), vec![19092]),
        cores: 2,
        data_dir: "/data".to_string(),
        auto_create_topics: true,
        default_partitions: 4,
        message_bytes_max: 1_048_588,
        request_bytes_max: 1 << 20,
        amqp_message_bytes_max: 1 << 20,
        amqp_frame_bytes_max: 131_072,
        amqp_heartbeat_s: 60,
        amqp_channels_max: 2047,
        group_initial_rebalance_delay_ms: 0,
        version: "1.2.3",
    }
}

#[test]
fn alive_without_asking_and_ready_when_all_cores_say_so() {
    let mut peer = Peer::new();
    peer.send(&get("/livez?verbose"));
    let answer = peer.received();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    assert!(peer.requests.is_empty());

    peer.send(&get("/readyz"));
    assert_eq!((peer.requests.len(), peer.received()), (2, String::new()));
    peer.cores_answer(None);
    assert!(peer.received().starts_with("HTTP/1.1 200 "));
    peer.send(&get("/readyz"));
    peer.cores_answer(Some("the journal cannot be written"));
    let answer = peer.received();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("core 1: the journal cannot be written\n")
    );
    assert!(!peer.output.close);
}

#[test]
fn a_silent_core_is_waited_for_and_its_late_answer_is_not_taken_for_another() {
    let mut peer = Peer::new();
    for path in ["/readyz", "/metrics"] {
        peer.send(&get(path));
        let late: Vec<Request> = peer.requests.drain(..).collect();
        let until = peer.output.wake_at_us.take().unwrap();
        peer.now.monotonic_us = until - 1;
        peer.call(|session, _, cx| session.on_time(cx));
        assert_eq!(peer.received(), "");
        peer.now.monotonic_us = until;
        peer.call(|session, _, cx| session.on_time(cx));
        let answer = peer.received();
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("core 0: no answer\ncore 1: no answer\n")
        );
        peer.send(&get("/readyz"));
        for request in late {
            let event = Event::Status(Box::default());
            peer.call(|session, _, cx| session.on_event(request.ticket, event, cx));
        }
        assert_eq!(peer.received(), "");
        peer.cores_answer(None);
        assert!(peer.received().starts_with("HTTP/1.1 200 "));
        peer.output.wake_at_us = None;
    }
}

#[test]
fn metrics_and_their_head() {
    let mut peer = Peer::new();
    peer.send(&get("/metrics"));
    peer.cores_answer(None);
    let answer = peer.received();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("\nringmain_cores 2\n"));
    peer.send("HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    peer.cores_answer(None);
    assert_eq!(peer.received(), format!("{head}\r\n\r\n"));
}

#[test]
fn requests_sent_ahead_are_answered_in_order_and_bytes_may_come_one_by_one() {
    let mut peer = Peer::new();
    for byte in get("/livez").chars() {
        peer.send(&byte.to_string());
    }
    assert_eq!(peer.received().matches("200 OK").count(), 1);
    peer.send(&[get("/readyz"), get("/nothing"), get("/metrics")].concat());
    assert_eq!(peer.received(), "");
    peer.cores_answer(None);
    let answer = peer.received();
    assert!(answer.find("200 OK").unwrap() < answer.find("404 Not Found").unwrap());
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert!(peer.session.wants_input());
    peer.send(&get("/readyz").repeat(40));
    peer.cores_answer(None);
    assert_eq!(peer.received().matches("HTTP/1.1 200").count(), super::REQUESTS_MAX);
    assert!(peer.output.close && !peer.session.wants_input() && peer.input.is_empty());
}

#[test]
fn refusals() {
    let long = format!("GET /livez HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(9000));
    let many = format!("GET /livez HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(65));
    for (sent, status, close) in [
        ("POST /metrics HTTP/1.1\r\nHost: h\r\n\r\n", "405", false),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "404", false),
        ("GET /livez HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", "200", true),
        ("GET /livez HTTP/1.0\r\n\r\n", "200", true),
        ("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", false),
        ("GET /livez HTTP/1.1\r\n\r\n", "400", true),
        ("GET /livez HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "400", true),
        ("POST /livez HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", true),
        ("\x16\x03\x01\x02 a TLS client", "400", true),
        (&long, "431", true),
        (&many, "431", true),
    ] {
        let mut peer = Peer::new();
        peer.send(sent);
        let answer = peer.received();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{sent:?}: {answer}");
        assert_eq!(answer.contains("Allow: GET, HEAD\r\n"), status == "405");
        assert_eq!((peer.output.close, answer.matches("HTTP/1.1").count()), (close, 1), "{sent:?}");
    }
}
