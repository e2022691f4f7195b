//! HTTP/1.1 request heads, and the heads of answers.
//!
//! In: bytes of a connection. Out: one request at a time, or the status that refuses it. Never: reads a body;
//! a request that announces one is refused, because what follows it could not be told apart.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};

/// Longest request line with headers.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub wants: Wants,
    /// The answer goes without its body.
    pub head_only: bool,
    /// Another request may follow. Never after one that was not understood.
    pub keep_alive: bool,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Is the process there?
    Live,
    /// Does every core do its work?
    Ready,
    Metrics,
    /// Nothing that there is.
    Refusal(Status),
}

/// The answers' statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    HeadTooLarge,
    NotReady,
}

impl Status {
    /// Number and words.
    pub fn text(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::NotReady => "503 Service Unavailable",
        }
    }
}

/// Takes one request off the front of `input`; `None`: its head is not there as a whole yet.
pub fn take(input: &mut BytesMut) -> Option<Request> {
    let refused =
        |status| Some(Request { wants: Wants::Refusal(status), head_only: false, keep_alive: false });
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let seen = input.get(..HEAD_BYTES_MAX).unwrap_or(input);
    let (length, request) = match head.parse(seen) {
        Ok(httparse::Status::Complete(length)) => (length, understood(&head)),
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return refused(Status::HeadTooLarge);
        }
        Err(_) => return refused(Status::BadRequest),
    };
    let _ = input.split_to(length);
    request.map_or_else(|| refused(Status::BadRequest), Some)
}

/// `None` if it has a body or not exactly one host.
fn understood(head: &httparse::Request<'_, '_>) -> Option<Request> {
    let values = |name: &'static str| {
        head.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    let body =
        values("transfer-encoding").next().is_some() || values("content-length").any(|value| value != b"0");
    let newer = head.version == Some(1);
    if body || newer && values("host").count() != 1 {
        return None;
    }
    let wishes = |wish: &str| {
        let words = values("connection").flat_map(|value| value.split(|byte| *byte == b','));
        words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(wish.as_bytes()))
    };
    let keep_alive = !wishes("close") && (newer || wishes("keep-alive"));
    let target = head.path.unwrap_or_default();
    let wants = match (head.method, target.split('?').next()) {
        (Some("GET" | "HEAD"), Some("/livez")) => Wants::Live,
        (Some("GET" | "HEAD"), Some("/readyz")) => Wants::Ready,
        (Some("GET" | "HEAD"), Some("/metrics")) => Wants::Metrics,
        (Some("GET" | "HEAD"), _) => Wants::Refusal(Status::NotFound),
        _ => Wants::Refusal(Status::MethodNotAllowed),
    };
    Some(Request { wants, head_only: head.method == Some("HEAD"), keep_alive })
}

/// An answer, ready to be sent.
pub fn answer(status: Status, body: &str, head_only: bool, keep_alive: bool) -> Bytes {
    let mut out = String::with_capacity(body.len() + 256);
    // Writing to a String cannot fail.
    let _ = write!(out, "HTTP/1.1 {}\r\nContent-Length: {}\r\n", status.text(), body.len());
    out.push_str("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store\r\n");
    if status == Status::MethodNotAllowed {
        out.push_str("Allow: GET, HEAD\r\n");
    }
    out.push_str(if keep_alive { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
    if !head_only {
        out.push_str(body);
    }
    Bytes::from(out)
}
