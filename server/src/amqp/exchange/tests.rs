//! Messages through whole topologies.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringmain_engine::types::LogId;

use super::cache::{ROUTES_MAX, RouteCache};
use super::*;
use crate::amqp::wire::table::{ArrayBuilder, TableBuilder};
use crate::broker::catalog::{Change, QueueSettings};

/// A catalog with these queues, exchanges `(name, kind, alternate exchange)` and bindings
/// `(source, "q:name" or "x:name", key)`.
fn catalog(queues: &[&str], exchanges: &[(&str, &str, &str)], bindings: &[(&str, &str, &str)]) -> Catalog {
    let mut catalog = Catalog::new();
    for (number, name) in (100..).zip(queues) {
        catalog.apply(&Change::TopicCreated(Topic {
            name: name.to_string(),
            id: [number as u8; 16],
            partitions: vec![LogId(number << 2)],
            configs: BTreeMap::new(),
            queue: Some(QueueSettings::default()),
        }));
    }
    for (name, kind, alternate) in exchanges {
        let mut arguments = TableBuilder::new();
        if !alternate.is_empty() {
            arguments.put_str(ALTERNATE_EXCHANGE, alternate);
        }
        catalog.apply(&Change::ExchangeDeclared(Exchange {
            name: name.to_string(),
            kind: kind.to_string(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: arguments.finish().raw().clone(),
        }));
    }
    for (source, to, key) in bindings {
        let destination = match to.split_once(':') {
            Some(("x", name)) => Destination::Exchange(name.to_string()),
            Some((_, name)) => Destination::Queue(name.to_string()),
            None => panic!("{to}"),
        };
        catalog.apply(&Change::Bound(Binding {
            source: source.to_string(),
            destination,
            routing_key: key.as_bytes().to_vec(),
            arguments: Bytes::new(),
        }));
    }
    catalog
}

fn names(catalog: &Catalog, exchange: &str, key: &str) -> Vec<String> {
    with_headers(catalog, exchange, key, Fields::default())
}

fn with_headers(catalog: &Catalog, exchange: &str, key: &str, headers: Fields<'_>) -> Vec<String> {
    route(catalog, exchange, key.as_bytes(), headers).iter().map(|topic| topic.name.clone()).collect()
}

#[test]
fn the_default_exchange_knows_queues_by_name() {
    let catalog = catalog(&["a", "b"], &[], &[]);
    assert_eq!(names(&catalog, "", "b"), ["b"]);
    assert!(names(&catalog, "", "c").is_empty());
    assert!(route(&catalog, "", b"\xff", Fields::default()).is_empty());
    assert!(names(&catalog, "no such exchange", "a").is_empty());
}

#[test]
fn direct_compares_and_fanout_does_not() {
    let bindings = [("d", "q:a", "k"), ("d", "q:b", "l"), ("f", "q:a", "k"), ("f", "q:b", "")];
    let catalog = catalog(&["a", "b"], &[("d", "direct", ""), ("f", "fanout", "")], &bindings);
    assert_eq!(names(&catalog, "d", "k"), ["a"]);
    assert!(names(&catalog, "d", "").is_empty());
    assert_eq!(names(&catalog, "f", "whatever"), ["a", "b"]);
}

#[test]
fn two_ways_to_a_queue_make_one_copy() {
    let bindings =
        [("f", "q:a", ""), ("f", "q:a", "2"), ("f", "x:g", ""), ("g", "q:a", ""), ("g", "q:b", "")];
    let catalog = catalog(&["a", "b"], &[("f", "fanout", ""), ("g", "fanout", "")], &bindings);
    assert_eq!(names(&catalog, "f", ""), ["a", "b"]);
}

#[test]
fn a_cycle_of_exchanges_ends() {
    let bindings = [("f", "x:g", ""), ("g", "x:f", ""), ("g", "x:g", ""), ("f", "q:a", ""), ("g", "q:b", "")];
    let catalog = catalog(&["a", "b"], &[("f", "fanout", ""), ("g", "fanout", "")], &bindings);
    assert_eq!(names(&catalog, "f", ""), ["a", "b"]);
    assert_eq!(names(&catalog, "g", ""), ["b", "a"]);
}

#[test]
fn what_matches_nothing_takes_the_alternate_exchange() {
    let exchanges =
        [("d", "direct", "f"), ("f", "fanout", "d"), ("lost", "direct", "gone"), ("named", "direct", "")];
    let catalog = catalog(&["a", "b"], &exchanges, &[("d", "q:a", "k"), ("f", "q:b", "")]);
    assert_eq!(names(&catalog, "d", "k"), ["a"]);
    assert_eq!(names(&catalog, "d", "other"), ["b"]);
    assert!(names(&catalog, "lost", "k").is_empty());
    assert!(names(&catalog, "named", "k").is_empty());
}

#[test]
fn an_alternate_exchange_also_serves_an_exchange_on_the_way() {
    let exchanges = [("f", "fanout", ""), ("d", "direct", "last"), ("last", "fanout", "")];
    let catalog =
        catalog(&["a", "b"], &exchanges, &[("f", "q:a", ""), ("f", "x:d", ""), ("last", "q:b", "")]);
    assert_eq!(names(&catalog, "f", "k"), ["a", "b"]);
}

#[test]
fn copies_go_to_the_keys_in_the_headers() {
    let catalog =
        catalog(&["a", "b", "c"], &[("d", "direct", "")], &[("d", "q:a", "ka"), ("d", "q:b", "kb")]);
    let (mut cc, mut bcc, mut headers) = (ArrayBuilder::new(), ArrayBuilder::new(), TableBuilder::new());
    cc.push(Value::LongStr(b"kb")).push(Value::I32(1)).push(Value::LongStr(b"a"));
    bcc.push(Value::LongStr(b"c"));
    headers.put("CC", Value::Array(cc.items())).put("BCC", Value::Array(bcc.items()));
    assert_eq!(with_headers(&catalog, "d", "ka", headers.fields()), ["a", "b"]);
    assert_eq!(with_headers(&catalog, "", "b", headers.fields()), ["b", "a", "c"]);
    let mut wrong = TableBuilder::new();
    wrong.put_str("CC", "c");
    assert_eq!(with_headers(&catalog, "", "b", wrong.fields()), ["b"]);
}

#[test]
fn topic_and_headers_exchanges_are_asked() {
    let mut catalog =
        catalog(&["a", "b"], &[("t", "topic", ""), ("h", "headers", "")], &[("t", "q:a", "x.#")]);
    let mut arguments = TableBuilder::new();
    arguments.put("n", Value::I32(1));
    catalog.apply(&Change::Bound(Binding {
        source: "h".to_string(),
        destination: Destination::Queue("b".to_string()),
        routing_key: Vec::new(),
        arguments: arguments.fields().raw().to_vec().into(),
    }));
    assert_eq!(names(&catalog, "t", "x.y"), ["a"]);
    assert!(names(&catalog, "t", "y.x").is_empty());
    assert_eq!(with_headers(&catalog, "h", "", arguments.fields()), ["b"]);
    assert!(names(&catalog, "h", "").is_empty());
}

#[test]
fn a_wide_fanout_still_makes_one_copy_each() {
    let queues: Vec<String> = (0..100).map(|n| format!("q{n}")).collect();
    let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
    let mut wide = catalog(&queues, &[("f", "fanout", "")], &[]);
    for (key, name) in [0, 1].into_iter().flat_map(|key| queues.iter().map(move |name| (key, name))) {
        wide.apply(&Change::Bound(Binding {
            source: "f".to_string(),
            destination: Destination::Queue(name.to_string()),
            routing_key: vec![key],
            arguments: Bytes::new(),
        }));
    }
    assert_eq!(names(&wide, "f", ""), queues);
}

#[test]
fn the_cache_remembers_until_the_catalog_changes() {
    let mut catalog = catalog(&["a", "b"], &[("t", "topic", "")], &[("t", "q:a", "x.#")]);
    let mut cache = RouteCache::new();
    let (a, b) = (LogId(400), LogId(404));
    for _ in 0..2 {
        assert_eq!(cache.route(&catalog, "t", b"x.y", Fields::default()), [a]);
        assert!(cache.route(&catalog, "t", b"y", Fields::default()).is_empty());
        assert_eq!(cache.route(&catalog, "", b"b", Fields::default()), [b]);
    }
    assert_eq!(cache.len(), 3);
    catalog.apply(&Change::Bound(Binding {
        source: "t".to_string(),
        destination: Destination::Queue("b".to_string()),
        routing_key: b"*".to_vec(),
        arguments: Bytes::new(),
    }));
    assert_eq!(cache.route(&catalog, "t", b"y", Fields::default()), [b]);
    assert_eq!(cache.len(), 1);
    for number in 0..2 * ROUTES_MAX {
        cache.route(&catalog, "t", number.to_string().as_bytes(), Fields::default());
        assert!(cache.len() <= ROUTES_MAX);
    }
}

#[test]
fn what_depends_on_headers_is_not_remembered() {
    let exchanges = [("h", "headers", ""), ("f", "fanout", ""), ("d", "direct", "")];
    let mut catalog = catalog(&["a", "b"], &exchanges, &[("f", "x:h", ""), ("d", "q:a", "a")]);
    let mut wanted = TableBuilder::new();
    wanted.put("n", Value::I32(1));
    catalog.apply(&Change::Bound(Binding {
        source: "h".to_string(),
        destination: Destination::Queue("b".to_string()),
        routing_key: Vec::new(),
        arguments: wanted.fields().raw().to_vec().into(),
    }));
    let mut cache = RouteCache::new();
    for exchange in ["h", "f"] {
        assert!(cache.route(&catalog, exchange, b"", Fields::default()).is_empty());
        assert_eq!(cache.route(&catalog, exchange, b"", wanted.fields()), [LogId(404)]);
    }
    let (mut keys, mut copied) = (ArrayBuilder::new(), TableBuilder::new());
    keys.push(Value::LongStr(b"a"));
    copied.put("BCC", Value::Array(keys.items()));
    assert_eq!(cache.route(&catalog, "d", b"k", copied.fields()), [LogId(400)]);
    assert!(cache.route(&catalog, "d", b"k", Fields::default()).is_empty());
    assert_eq!(cache.len(), 1);
}
