//! Precedence, refusals, and docs/CONFIG.md against the option table.

use std::ffi::OsString;
use std::path::Path;

use super::options::{OPTIONS, nearest};
use super::*;
use crate::broker::nodes::Node;

fn values(
    flags: &[(&'static str, &str)],
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Values, ConfigError> {
    let flags = flags.iter().map(|(name, text)| (*name, text.to_string())).collect();
    let variables = variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text)));
    let mut values = Values::gather(&Flags { file: None, values: flags }, variables)?;
    if let Some(text) = file {
        // In the program the file comes first; for one key at a time the order makes no difference here.
        values.add_file(Path::new("r.toml"), text)?;
    }
    Ok(values)
}

fn config(
    flags: &[(&'static str, &str)],
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Config, String> {
    let values = values(flags, variables, file).map_err(|error| error.to_string())?;
    Config::from_values(&values).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_valid_and_within_their_ranges() {
    let config = config(&[], &[], None).unwrap();
    assert_eq!(config.kafka.to_string(), "127.0.0.1:9092");
    assert_eq!((config.default_partitions, config.message_bytes_max), (4, 1_048_588));
    assert_eq!((config.journal_file_bytes, config.request_bytes_max), (64 << 20, 100 << 20));
    let settings = settings(&config, "c".into(), 2, &[19092]);
    let only = Node { id: 1, host: "127.0.0.1", port: 19092 };
    assert_eq!(settings.nodes.all().collect::<Vec<_>>(), [only]);
}

#[test]
fn the_stronger_source_wins() {
    let directory = std::env::temp_dir().join(format!("ringmain-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("precedence.toml");
    std::fs::write(&path, "node_id = 2\namqp_heartbeat_s = 2\ndefault_partitions = 2\n").unwrap();
    let flags = Flags { file: Some(path.clone()), values: vec![("node_id", "4".into())] };
    let variables = [("RINGMAIN_NODE_ID", "3"), ("RINGMAIN_AMQP_HEARTBEAT_S", "3"), ("HOME", "/")];
    let variables = variables.map(|(name, text)| (OsString::from(name), OsString::from(text)));
    let values = Values::gather(&flags, variables).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();

    let config = Config::from_values(&values).unwrap();
    assert_eq!((config.node_id, config.amqp_heartbeat_s, config.default_partitions), (4, 3, 2));
    assert_eq!(config.amqp_channels_max, 2047);
    let origin = |name| values.iter().find(|(option, ..)| option.name == name).unwrap().2.clone();
    assert_eq!(origin("node_id"), Origin::Flag("node-id".into()));
    assert_eq!(origin("amqp_heartbeat_s"), Origin::Environment("RINGMAIN_AMQP_HEARTBEAT_S".into()));
    assert_eq!(origin("default_partitions"), Origin::File { path, line: 3 });
    assert_eq!(origin("amqp_channels_max"), Origin::Default);
}

#[test]
fn unknown_keys_are_named_with_the_nearest() {
    let error = config(&[], &[], Some("kafka = \"127.0.0.1:1\"\ndefault_partition = 3")).unwrap_err();
    assert_eq!(error, "r.toml:2: unknown option `default_partition`; the nearest is `default_partitions`");
    let error = config(&[], &[("RINGMAIN_KAFKAS", "x")], None).unwrap_err();
    assert_eq!(error, "unknown environment variable RINGMAIN_KAFKAS; the nearest is `RINGMAIN_KAFKA`");
    assert_eq!(nearest("completely_different_thing"), None);
    assert!(config(&[], &[("RINGMAIN_PORT_9092_TCP", "tcp://10.0.0.1:9092")], None).is_ok());
    assert!(config(&[], &[], Some("node_id = ")).unwrap_err().starts_with("r.toml:1: "));
}

#[test]
fn values_are_checked() {
    for (name, text) in [
        ("node_id", "-1"),
        ("default_partitions", "0"),
        ("amqp_heartbeat_s", "70000"),
        ("journal_file_bytes", "64 MB"),
        ("memory_bytes", "99999999999 GiB"),
        ("kafka", "nonsense"),
        ("kafka", "127.0.0.1"),
        ("io", "epoll"),
        ("cores", "0"),
        ("cores", "3-1"),
        ("cores", "0,"),
        ("auto_create_topics", "maybe"),
        ("data_dir", ""),
    ] {
        let error = config(&[(name, text)], &[], None).unwrap_err();
        assert!(error.contains(name) && error.contains("expected"), "{name}={text}: {error}");
    }
    assert!(config(&[], &[], Some("node_id = [1]")).unwrap_err().contains("not array"));
    let odd = config(&[("journal_file_bytes", "67108865")], &[], None).unwrap_err();
    assert!(odd.contains("multiple of 4096"), "{odd}");
    assert_eq!(config(&[], &[], Some("memory_bytes = \"1 GiB\"")).unwrap().memory_bytes, 1 << 30);
    assert_eq!(config(&[], &[], Some("memory_bytes = 100_000_000")).unwrap().memory_bytes, 100_000_000);
}

#[test]
fn cores_are_chosen_from_those_allowed() {
    let allowed = [1, 2, 5];
    let of = |text| config(&[("cores", text)], &[], None).unwrap().cores_of(&allowed);
    assert_eq!(of("all").unwrap(), [1, 2, 5]);
    assert_eq!(of("2").unwrap(), [1, 2]);
    assert_eq!(of("2-2").unwrap(), [2]);
    assert_eq!(of("5,1-2").unwrap(), [1, 2, 5]);
    assert!(of("4").unwrap_err().to_string().contains("asks for 4 cores"));
    assert!(of("0,2").unwrap_err().to_string().contains("asks for core 0"));
}

#[test]
fn without_users_only_loopback_is_served() {
    for (name, address) in [("kafka", "0.0.0.0:9092"), ("amqp", "[::]:5672"), ("admin", "192.0.2.1:80")] {
        let error = config(&[(name, address)], &[], None).unwrap_err();
        assert!(error.contains(name) && error.contains("allow_unauthenticated_remote"), "{error}");
        let allowed = [("RINGMAIN_ALLOW_UNAUTHENTICATED_REMOTE", "true")];
        assert!(config(&[(name, address), ("advertise", "host")], &allowed, None).is_ok());
    }
    assert!(config(&[("kafka", "[::1]:0"), ("amqp", "127.1.2.3:0")], &[], None).is_ok());
    let allowed = Some("allow_unauthenticated_remote = true");
    assert!(config(&[("kafka", "0.0.0.0:9092")], &[], allowed).unwrap_err().contains("--advertise"));
}

#[test]
fn what_is_advertised() {
    for (text, host, port) in [
        ("broker.example", "broker.example", 19092),
        ("broker.example:29092", "broker.example", 29092),
        ("::1", "::1", 19092),
        ("[::1]:29092", "::1", 29092),
    ] {
        let config = config(&[("advertise", text)], &[], None).unwrap();
        let settings = settings(&config, String::new(), 2, &[19092]);
        assert_eq!(settings.nodes.all().collect::<Vec<_>>(), [Node { id: 1, host, port }]);
    }
    for text in ["broker:port", "kafka://broker", ":9092", "a b"] {
        assert!(config(&[("advertise", text)], &[], None).unwrap_err().contains("HOST:PORT"), "{text}");
    }
}

#[test]
fn each_core_has_an_address_of_its_own() {
    let of = |kafka: &str, more: &str| {
        let file = format!("kafka = \"{kafka}\"\n{more}");
        config(&[], &[("RINGMAIN_CORE_LISTENERS", "true")], Some(&file)).unwrap()
    };
    let addresses = |config: &Config| -> Vec<String> {
        config.kafka_addresses(3).unwrap().iter().map(SocketAddr::to_string).collect()
    };
    assert_eq!(addresses(&of("127.0.0.1:9092", "")), ["127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"]);
    assert_eq!(addresses(&of("[::1]:0", "")), ["[::1]:0"; 3]);
    assert_eq!(config(&[], &[], None).unwrap().kafka_addresses(3).unwrap().len(), 1);

    let nodes = |config: &Config| -> Vec<(i32, String, u16)> {
        let nodes = settings(config, String::new(), 3, &[701, 55, 9]).nodes;
        nodes.all().map(|node| (node.id, node.host.to_string(), node.port)).collect()
    };
    let expected = |host: &str, ids: [i32; 3], ports: [u16; 3]| -> Vec<(i32, String, u16)> {
        ids.into_iter().zip(ports).map(|(id, port)| (id, host.to_string(), port)).collect()
    };
    let found = nodes(&of("127.0.0.1:0", "node_id = 4\nadvertise = \"host\""));
    assert_eq!(found, expected("host", [4, 5, 6], [701, 55, 9]));
    let found = nodes(&of("127.0.0.1:0", "advertise = \"host:29092\""));
    assert_eq!(found, expected("host", [1, 2, 3], [29092, 29093, 29094]));

    assert!(of("127.0.0.1:65533", "node_id = 2147483645").kafka_addresses(3).is_ok());
    for (kafka, more, name) in [
        ("127.0.0.1:65534", "", "`kafka` is 65534"),
        ("127.0.0.1:0", "advertise = \"host:65534\"", "`advertise` is 65534"),
        ("127.0.0.1:0", "node_id = 2147483646", "`node_id` is 2147483646"),
    ] {
        let error = of(kafka, more).kafka_addresses(3).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("3 cores"), "{error}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let written = values(&[("data_dir", "/a \"b\"\\c"), ("cores", "0,2-3")], &[], None).unwrap();
    for with_origin in [false, true] {
        let text = print::as_file(&written, with_origin);
        let mut read = Values::defaults();
        read.add_file(Path::new("printed.toml"), &text).unwrap();
        assert_eq!(Config::from_values(&read).unwrap(), Config::from_values(&written).unwrap());
        assert_eq!(text.contains("# flag --data-dir"), with_origin);
    }
}

#[test]
fn the_manual_lists_exactly_the_options() {
    let manual = include_str!("../../../docs/CONFIG.md");
    let mut table = String::from("| option | default | unit and range | meaning |\n|---|---|---|---|\n");
    for option in OPTIONS {
        let default = if option.default.is_empty() { "not set" } else { option.default };
        let (unit, meaning) = (print::described(option), option.meaning);
        table.push_str(&format!("| `{}` | {default} | {unit} | {meaning} |\n", option.name));
    }
    let found: String =
        manual.lines().filter(|line| line.starts_with('|')).flat_map(|line| [line, "\n"]).collect();
    assert_eq!(found, table, "docs/CONFIG.md must hold this table:\n{table}");
}
