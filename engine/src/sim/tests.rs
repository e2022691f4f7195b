//! The simulator itself: seeds that must pass, the same seed twice, and what the model takes for true.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::model::{Appended, Change, Found, Model};
use super::run;
use crate::format::batch::stamp;
use crate::format::record::BatchBuilder;
use crate::partition::Watermarks;
use crate::types::LogId;

const LOG: LogId = LogId(1);
const OTHER: LogId = LogId(2);

#[test]
fn a_seed_does_the_same_every_time() {
    for seed in 0..30 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn some_seeds_pass() {
    for seed in 1000..1100 {
        if let Err(what) = run(seed) {
            panic!("seed {seed}: {what}");
        }
    }
}

fn batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(value.as_bytes()), &[]);
    builder.finish().bytes().clone()
}

fn append(log: LogId, value: &str) -> Change {
    Change::Append(log, Appended { base: 0, end: 1, bytes: batch(value), producer: None })
}

/// A log with one batch in it, or none.
fn holding(value: Option<&str>) -> Found {
    let end = value.iter().len() as u64;
    let marks = Watermarks { start: 0, settled: 0, durable: end, end };
    let served = value.map(|value| {
        let mut bytes = batch(value).to_vec();
        stamp(&mut bytes, 0, 0);
        (0, vec![Bytes::from(bytes)])
    });
    Found { marks, reads: served.into_iter().collect() }
}

/// Has a model judge a start that finds `log` and `other`. One batch was safe before the last frame, which cut it off, put
/// one in its place and one in the other log. Returns what the logs are taken to hold.
fn recovered(rotten: usize, log: Option<&str>, other: Option<&str>) -> Result<Vec<Bytes>, String> {
    let mut model = Model::default();
    model.recovered(1, &[], &BTreeMap::new())?;
    for change in [Change::Create(LOG), Change::Create(OTHER), append(LOG, "first")] {
        model.change(0, change);
    }
    model.acknowledged(0, 3);
    model.frame_ends(0, 0);
    for change in [Change::Truncate(LOG, 0), append(LOG, "second"), append(OTHER, "beside")] {
        model.change(0, change);
    }
    model.acknowledged(0, 6);
    model.frame_ends(0, 3);
    let found = BTreeMap::from([(LOG, holding(log)), (OTHER, holding(other))]);
    model.recovered(1, &[rotten], &found)?;
    let batches = model.logs.values().flat_map(|log| log.batches.values());
    Ok(batches.map(|appended| appended.bytes.clone()).collect())
}

#[test]
fn what_is_served_tells_beginnings_with_the_same_watermarks_apart() {
    assert_eq!(recovered(1, Some("first"), None), Ok(vec![batch("first")]));
    assert_eq!(recovered(1, None, None), Ok(vec![]));
    assert_eq!(recovered(1, Some("second"), None), Ok(vec![batch("second")]));
    assert_eq!(recovered(1, Some("second"), Some("beside")), Ok(vec![batch("second"), batch("beside")]));
}

#[test]
fn what_is_served_is_of_one_beginning() {
    for (log, other) in [
        (Some("first"), Some("beside")),
        (None, Some("beside")),
        (Some("second"), Some("first")),
        (Some("third"), None),
    ] {
        assert!(recovered(1, log, other).is_err(), "{log:?} and {other:?}");
    }
}

#[test]
fn what_was_acknowledged_is_not_explained_away() {
    assert!(recovered(0, Some("second"), Some("beside")).is_ok());
    for (log, other) in [(Some("first"), None), (Some("second"), None), (None, None)] {
        assert!(recovered(0, log, other).is_err(), "{log:?} and {other:?}");
    }
}
