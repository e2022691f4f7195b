//! Who leads each partition of a topic: where a client that follows Metadata connects.
//!
//! In: a connection to any broker of the cluster, a topic. Out: `HOST:PORT` by partition. Never: a guess for a
//! partition whose leader is not told.

use std::collections::HashMap;
use std::time::Instant;

use super::kafka::{Connection, Fields, PATIENCE, put_string, request};
use crate::failure::Failure;

const METADATA: (i16, i16) = (3, 1);

/// Asks until every one of the partitions has a leader: a new topic may lack some for a moment.
pub fn leaders(
    connection: &mut Connection,
    topic: &str,
    partitions_count: u64,
) -> Result<Vec<String>, Failure> {
    let since = Instant::now();
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    put_string(&mut body, topic);
    loop {
        let answer = connection.exchange(&request(METADATA, 0, &body), 0)?;
        let told = told(answer).and_then(|told| {
            (0..partitions_count as i32).map(|partition| told.get(&partition).cloned()).collect()
        });
        match told {
            Some(leaders) => return Ok(leaders),
            None if since.elapsed() < PATIENCE => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            None => {
                let reason = format!("not every partition of {topic} has a leader that is told");
                return Err(Failure::Broker(reason));
            }
        }
    }
}

/// The leaders in an answer about one topic, by partition.
fn told(mut answer: Fields<'_>) -> Option<HashMap<i32, String>> {
    let mut brokers = HashMap::new();
    for _ in 0..answer.i32()? {
        let (id, host, port, _rack) = (answer.i32()?, answer.string()?, answer.i32()?, answer.string()?);
        let host = std::str::from_utf8(host).ok()?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        brokers.insert(id, format!("{host}:{port}"));
    }
    let (_controller, _topics, _error) = (answer.i32()?, answer.i32()?, answer.i16()?);
    let (_name, _internal) = (answer.string()?, answer.array::<1>()?);
    let mut leaders = HashMap::new();
    for _ in 0..answer.i32()? {
        let (_error, partition, leader) = (answer.i16()?, answer.i32()?, answer.i32()?);
        for _replicas_then_in_sync in 0..2 {
            for _ in 0..answer.i32()? {
                answer.i32()?;
            }
        }
        if let Some(target) = brokers.get(&leader) {
            leaders.insert(partition, target.clone());
        }
    }
    Some(leaders)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brokers 1 and 2, the partitions 0 and 1 with these leaders.
    fn answer(of_first: i32, of_second: i32) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(2i32.to_be_bytes());
        for (id, host, port) in [(1i32, "one", 9092i32), (2, "::1", 9093)] {
            out.extend(id.to_be_bytes());
            put_string(&mut out, host);
            out.extend(port.to_be_bytes());
            out.extend((-1i16).to_be_bytes());
        }
        out.extend([0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
        put_string(&mut out, "t");
        out.extend([0, 0, 0, 0, 2]);
        for (partition, leader) in [(0i32, of_first), (1, of_second)] {
            out.extend([0, 0]);
            out.extend(partition.to_be_bytes());
            out.extend(leader.to_be_bytes());
            for _ in 0..2 {
                out.extend(1i32.to_be_bytes());
                out.extend(leader.to_be_bytes());
            }
        }
        out
    }

    #[test]
    fn leaders_are_the_brokers_they_name() {
        let sound = answer(2, 1);
        let found = told(Fields::new(&sound)).unwrap();
        assert_eq!((found[&0].as_str(), found[&1].as_str()), ("[::1]:9093", "one:9092"));
        for cut in 0..sound.len() {
            assert_eq!(told(Fields::new(&sound[..cut])), None, "cut at {cut}");
        }
        let without = answer(-1, 1);
        assert_eq!(told(Fields::new(&without)).unwrap().get(&0), None);
    }
}
