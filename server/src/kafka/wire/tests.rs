//! Messages as bytes: golden ones, round trips in every version, and bytes that are no message.

use bytes::{Bytes, BytesMut};

use super::frame::{self, Front};
use super::{Reader, RequestHeader, WireError, Writer};

#[test]
fn primitives_come_back_in_both_encodings() {
    for flexible in [false, true] {
        let mut writer = Writer::new(flexible);
        writer.bool(true);
        writer.i64(-2);
        writer.uuid(&[7; 16]);
        writer.string("topic");
        writer.nullable_string(None);
        writer.bytes(b"");
        writer.nullable_bytes(None);
        writer.shared_bytes(&[Bytes::from_static(b"re"), Bytes::new(), Bytes::from_static(b"cord")]);
        writer.array(&[1, 2, 3], |writer, item| writer.i32(*item));
        writer.nullable_array(None::<&[i32]>, |writer, item| writer.i32(*item));
        writer.tags_of(&[(1, vec![9, 9])]);
        let length = writer.len();
        let bytes = writer.into_bytes();
        assert_eq!(bytes.len(), length);

        let mut reader = Reader::new(bytes, flexible);
        assert!(reader.bool().unwrap());
        assert_eq!(reader.i64().unwrap(), -2);
        assert_eq!(reader.uuid().unwrap(), [7; 16]);
        assert_eq!(reader.string().unwrap(), "topic");
        assert_eq!(reader.nullable_string().unwrap(), None);
        assert_eq!(reader.nullable_bytes().unwrap(), Some(Bytes::new()));
        assert_eq!(reader.nullable_bytes().unwrap(), None);
        assert_eq!(reader.bytes().unwrap(), "record");
        assert_eq!(reader.array(Reader::i32).unwrap(), [1, 2, 3]);
        assert_eq!(reader.nullable_array(Reader::i32).unwrap(), None);
        let mut tags = Vec::new();
        let keep = |tag, field: &mut Reader| {
            tags.push((tag, field.take(2)?));
            Ok(())
        };
        reader.tags_with(keep).unwrap();
        assert_eq!(tags.len(), usize::from(flexible));
        assert_eq!(reader.remaining(), 0);
    }
}

#[test]
fn a_length_is_checked_before_it_is_believed() {
    let refused = |bytes: &'static [u8], flexible| {
        Reader::new(Bytes::from_static(bytes), flexible).array(Reader::i8).unwrap_err()
    };
    assert_eq!(refused(&[0x7f, 0xff, 0xff, 0xff, 0], false), WireError::Length);
    assert_eq!(refused(&[0xff, 0xff, 0xff, 0xfe, 0], false), WireError::Length);
    assert_eq!(refused(&[0xff, 0xff, 0xff, 0xff], false), WireError::Null);
    assert_eq!(refused(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], true), WireError::Length);
    assert_eq!(refused(&[0xff, 0xff, 0xff, 0xff, 0x1f, 0], true), WireError::Varint);
    let many = vec![0; 2 * super::primitives::ARRAY_ITEMS_MAX];
    let mut bytes = (super::primitives::ARRAY_ITEMS_MAX as i32 + 1).to_be_bytes().to_vec();
    bytes.extend(many);
    assert_eq!(Reader::new(bytes.into(), false).array(Reader::i8), Err(WireError::Length));
}

#[test]
fn tagged_fields_ascend_and_are_bounded() {
    let refused = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes), true).tags().unwrap_err();
    assert_eq!(refused(&[2, 1, 0, 1, 0]), WireError::Tags);
    assert_eq!(refused(&[1, 1, 5, 0]), WireError::Short);
    assert_eq!(refused(&[0x91, 0x4e]), WireError::Length);
}

#[test]
fn a_long_text_is_cut_in_the_classic_form_only() {
    let text = "\u{e9}".repeat(20_000);
    for (flexible, length) in [(false, 32_766), (true, 40_000)] {
        let mut writer = Writer::new(flexible);
        writer.string(&text);
        assert_eq!(Reader::new(writer.into_bytes(), flexible).string().unwrap().len(), length);
    }
}

#[test]
fn a_frame_is_taken_when_it_is_whole() {
    let header = RequestHeader {
        key: 18,
        version: 3,
        correlation_id: 5,
        client_id: Some("me".to_string()),
        flexible: true,
    };
    let sent = frame::finish(frame::begin_request(&header)).concat();
    assert_eq!(sent, [0, 0, 0, 13, 0, 18, 0, 3, 0, 0, 0, 5, 0, 2, b'm', b'e', 0]);
    for cut in 0..sent.len() {
        let mut input = BytesMut::from(&sent[..cut]);
        let needs = if cut < 4 { 4 } else { sent.len() };
        assert_eq!(frame::take(&mut input, 1000), Ok(Front::Needs(needs)));
        assert_eq!(input.len(), cut);
    }
    let mut input = BytesMut::from(&sent[..]);
    assert_eq!(frame::take(&mut input, 12), Err(frame::BadSize(13)));
    let Ok(Front::Frame(bytes)) = frame::take(&mut input, 13) else { panic!("the frame is whole") };
    let mut reader = Reader::new(bytes, false);
    assert_eq!(RequestHeader::decode(&mut reader, |_, version| version >= 3), Ok(header));
    assert!(reader.is_flexible() && reader.remaining() == 0 && input.is_empty());
    assert_eq!(frame::take(&mut BytesMut::from(&[0xff; 4][..]), 1000), Err(frame::BadSize(-1)));
}
