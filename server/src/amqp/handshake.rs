//! The beginning of a connection: who is there, and within which limits both will speak.
//!
//! ```text
//!   Header --"AMQP 0 0 9 1"--> Start --start-ok--> Tune --tune-ok--> Open --open--> (running)
//! ```
//!
//! In: the client's answers. Out: what the broker says next, and the limits agreed upon. Never: lets anybody but the
//! default user in, or that one from another machine.

use std::net::SocketAddr;

use bytes::Bytes;

use super::error::{AmqpError, Code};
use super::wire::frame::FRAME_BYTES_MIN;
use super::wire::method::Method;
use super::wire::primitive::LongBytes;
use super::wire::table::{Fields, Table, TableBuilder, Value};
use crate::broker::settings::Settings;

/// What the server can do beyond the specification. Only what is there is claimed.
pub const CAPABILITIES: &[&str] = &[
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "connection.blocked",
];

/// Clients choose how to speak by these two: kombu, and so Celery, raises the prefetch of running consumers only
/// when the product is this one and its version at least 3.3. The semantics served are those of the version.
const PRODUCT: &str = "RabbitMQ";
const PRODUCT_VERSION: &str = "3.13.7";
const MECHANISMS: &[u8] = b"PLAIN AMQPLAIN";
const USER: &[u8] = b"guest";
const PASSWORD: &[u8] = b"guest";

/// `connection.start`.
pub fn start(settings: &Settings) -> Method {
    let mut capabilities = TableBuilder::new();
    for name in CAPABILITIES {
        capabilities.put(name, Value::Bool(true));
    }
    let mut properties = TableBuilder::new();
    properties
        .put("capabilities", Value::Table(capabilities.fields()))
        .put_str("cluster_name", &settings.cluster_id)
        .put_str("information", "AMQP 0-9-1 on a durable log")
        .put_str("platform", &format!("Ringmain {}", settings.version))
        .put_str("product", PRODUCT)
        .put_str("version", PRODUCT_VERSION);
    Method::ConnectionStart {
        version_major: 0,
        version_minor: 9,
        server_properties: properties.finish(),
        mechanisms: LongBytes(Bytes::from_static(MECHANISMS)),
        locales: LongBytes(Bytes::from_static(b"en_US")),
    }
}

/// `connection.tune`.
pub fn tune(settings: &Settings) -> Method {
    Method::ConnectionTune {
        channel_max: settings.amqp_channels_max,
        frame_max: settings.amqp_frame_bytes_max.max(FRAME_BYTES_MIN),
        heartbeat: settings.amqp_heartbeat_s,
    }
}

/// What the client's properties say it can do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ClientCapabilities {
    /// It wants to hear why it is not let in.
    pub authentication_failure_close: bool,
    /// It wants to hear when the broker ends a consumer.
    pub consumer_cancel_notify: bool,
    /// It wants to hear when its publishes are not read for a while.
    pub connection_blocked: bool,
}

impl ClientCapabilities {
    /// Reads `connection.start-ok`'s properties.
    pub fn of(properties: &Table) -> ClientCapabilities {
        let capabilities = match properties.get("capabilities") {
            Some(Value::Table(fields)) => fields,
            _ => Fields::default(),
        };
        let has = |name| capabilities.get(name).and_then(Value::as_bool).unwrap_or(false);
        ClientCapabilities {
            authentication_failure_close: has("authentication_failure_close"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
        }
    }
}

/// Whether the client may come in. 503 for an unknown mechanism, 403 for a wrong user.
pub fn authenticate(peer: SocketAddr, mechanism: &str, response: &[u8]) -> Result<(), AmqpError> {
    let known = match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => {
            let detail = format!("unknown authentication mechanism '{mechanism}'");
            return Err(AmqpError::new(Code::CommandInvalid, detail));
        }
    };
    if known && peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(AmqpError::refused(format!(
        "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
    )))
}

/// Authorization identity, user and password, each after a zero byte.
fn plain(response: &[u8]) -> bool {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (_identity, user, password) = (parts.next(), parts.next(), parts.next());
    user == Some(USER) && password == Some(PASSWORD)
}

/// A table without the length before it.
fn amqplain(response: &[u8]) -> bool {
    let fields = Fields::new(response);
    let is = |name, wanted| matches!(fields.get(name), Some(Value::LongStr(found)) if found == wanted);
    is("LOGIN", USER) && is("PASSWORD", PASSWORD)
}

/// What both sides keep to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub channels_max: u16,
    pub frame_bytes_max: u32,
    /// 0: no heartbeats.
    pub heartbeat_s: u16,
}

/// The limits of `connection.tune-ok`, which may be lower than offered but not higher; 0 asks for no limit.
pub fn agree(
    settings: &Settings,
    channel_max: u16,
    frame_max: u32,
    heartbeat: u16,
) -> Result<Limits, AmqpError> {
    let refuse = |what: &str, wanted: u32, limit: u32, how: &str| {
        let detail = format!("negotiated {what} = {wanted} is {how} than the {limit} allowed");
        Err(AmqpError::new(Code::NotAllowed, detail))
    };
    let frame_limit = settings.amqp_frame_bytes_max.max(FRAME_BYTES_MIN);
    if frame_max == 0 || frame_max > frame_limit {
        return refuse("frame_max", frame_max, frame_limit, "higher");
    }
    if frame_max < FRAME_BYTES_MIN {
        return refuse("frame_max", frame_max, FRAME_BYTES_MIN, "lower");
    }
    let channel_limit = settings.amqp_channels_max;
    if channel_limit != 0 && (channel_max == 0 || channel_max > channel_limit) {
        return refuse("channel_max", channel_max.into(), channel_limit.into(), "higher");
    }
    let channels_max = if channel_max == 0 { u16::MAX } else { channel_max };
    Ok(Limits { channels_max, frame_bytes_max: frame_max, heartbeat_s: heartbeat })
}

/// 530 for any virtual host but the only one.
pub fn check_virtual_host(name: &str) -> Result<(), AmqpError> {
    match name {
        "/" => Ok(()),
        other => Err(AmqpError::new(Code::NotAllowed, format!("vhost {other} not found"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn only_the_default_user_from_this_machine_comes_in() {
        let here = peer("127.0.0.1:5000");
        assert!(authenticate(here, "PLAIN", b"\0guest\0guest").is_ok());
        assert!(authenticate(peer("[::ffff:127.0.0.1]:5000"), "PLAIN", b"\0guest\0guest").is_ok());
        assert!(authenticate(peer("10.0.0.1:5000"), "PLAIN", b"\0guest\0guest").is_err());
        for wrong in [&b"\0guest\0wrong"[..], b"", b"guest", b"\0guest\0guest\0"] {
            assert!(authenticate(here, "PLAIN", wrong).is_err(), "{wrong:?}");
        }
        let mut login = TableBuilder::new();
        login.put_str("LOGIN", "guest").put_str("PASSWORD", "guest");
        assert!(authenticate(here, "AMQPLAIN", login.finish().raw()).is_ok());
        assert_eq!(authenticate(here, "EXTERNAL", b"").unwrap_err().code, Code::CommandInvalid);
    }
}
