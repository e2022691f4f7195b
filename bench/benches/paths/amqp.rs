//! The AMQP codec's paths: a publish as it comes and as it is kept, a delivery as it goes.
//!
//! In: frames as clients send them. Out: paths. Never: a socket.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use ringmain::amqp::message::Message;
use ringmain::amqp::wire::frame::{Kind, put_content, take_frame};
use ringmain::amqp::wire::method::Method;
use ringmain::amqp::wire::primitive::{ShortBytes, ShortStr};
use ringmain::amqp::wire::properties::{ContentHeader, Properties, View};

use super::Path;

const FRAME_BYTES_MAX: u32 = 128 << 10;
const BODY_BYTES: usize = 1024;

pub fn paths() -> Vec<Path> {
    let properties =
        View { delivery_mode: Some(2), content_type: Some(b"text/plain"), ..View::default() }.encode();
    let body = Bytes::from(vec![0x5a; BODY_BYTES]);
    let publish = Method::BasicPublish {
        exchange: ShortStr::from(""),
        routing_key: key(),
        mandatory: false,
        immediate: false,
    };
    let published = frames(&publish, &properties, &body);
    let deliver = Method::BasicDeliver {
        consumer_tag: ShortStr::from("ctag1.0"),
        delivery_tag: 77,
        redelivered: false,
        exchange: ShortStr::from(""),
        routing_key: key(),
    };
    let message = Message {
        exchange: ShortStr::from(""),
        routing_key: key(),
        properties: properties.clone(),
        body: body.clone(),
    };
    vec![
        Path::new("amqp-publish-decode", move || decode(black_box(&published))),
        Path::new("amqp-publish-to-batch", move || {
            black_box(&message).batch(1_000_000).map_or(0, |batch| batch.bytes().len())
        }),
        Path::new("amqp-deliver-encode", move || frames(black_box(&deliver), &properties, &body).len()),
    ]
}

fn key() -> ShortBytes {
    ShortBytes::from(ShortStr::from("jobs"))
}

fn frames(method: &Method, properties: &Properties, body: &Bytes) -> BytesMut {
    let mut out = BytesMut::with_capacity(2 * BODY_BYTES);
    let mut whole = BytesMut::new();
    put_content(1, method, properties, body, FRAME_BYTES_MAX, &mut out, &mut |piece| {
        whole.extend_from_slice(&piece)
    });
    whole.unsplit(out);
    whole
}

fn decode(published: &BytesMut) -> usize {
    let (mut input, mut taken) = (published.clone(), 0);
    while let Ok(Some(frame)) = take_frame(&mut input, FRAME_BYTES_MAX) {
        taken += match frame.kind {
            Kind::Method => {
                Method::decode(frame.payload).map_or(0, |method| usize::from(method.has_content()))
            }
            Kind::Header => {
                ContentHeader::decode(frame.payload).map_or(0, |header| header.body_size as usize)
            }
            Kind::Body | Kind::Heartbeat => frame.payload.len(),
        };
    }
    taken
}
