//! All methods of AMQP 0-9-1 with RabbitMQ's extensions, both directions.
//!
//! In: the payload of a method frame. Out: a [`Method`] whose parts share it, or the bytes of one.
//! Never: looks at what a method means.
//!
//! Each row: name, class and method number, reserved arguments before, arguments, reserved arguments behind.
//! Reserved arguments are read and forgotten, and written as zeros.

use bytes::{BufMut, Bytes, BytesMut};

use super::WireError;
use super::primitive::{Argument, LongBytes, Reader, ShortBytes, ShortStr, Writer};
use super::table::Table;

macro_rules! methods {
    ($(
        $(#[$doc:meta])*
        $name:ident $text:literal ($class:literal, $method:literal)
        [$($before:ty),*] { $($field:ident: $kind:ty),* $(,)? } [$($behind:ty),*]
    )*) => {
        /// A method with its arguments.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Method {
            $($(#[$doc])* $name { $($field: $kind),* },)*
        }

        impl Method {
            /// Reads the payload of a method frame. Bytes left over are ignored, as RabbitMQ does.
            pub fn decode(payload: Bytes) -> Result<Method, WireError> {
                let mut from = Reader::new(payload);
                let (class, method) = (u16::take(&mut from)?, u16::take(&mut from)?);
                match (class, method) {
                    $(($class, $method) => {
                        $(let _ = <$before>::take(&mut from)?;)*
                        $(let $field = <$kind>::take(&mut from)?;)*
                        $(let _ = <$behind>::take(&mut from)?;)*
                        Ok(Method::$name { $($field),* })
                    })*
                    _ => Err(WireError::UnknownMethod { class, method }),
                }
            }

            /// Appends the payload of a method frame.
            pub fn encode(&self, out: &mut BytesMut) {
                let (class, method) = self.id();
                out.put_u16(class);
                out.put_u16(method);
                let mut to = Writer::new(out);
                match self {
                    $(Method::$name { $($field),* } => {
                        $(<$before>::default().put(&mut to);)*
                        $($field.put(&mut to);)*
                        $(<$behind>::default().put(&mut to);)*
                    })*
                }
                let _ = &mut to;
            }

            /// Numbers of class and method.
            pub fn id(&self) -> (u16, u16) {
                match self {
                    $(Method::$name { .. } => ($class, $method),)*
                }
            }

            /// Name in the specification's spelling, such as "queue.declare-ok".
            pub fn name(&self) -> &'static str {
                match self {
                    $(Method::$name { .. } => $text,)*
                }
            }
        }

        /// Every method's numbers and name.
        pub const METHODS: &[(u16, u16, &str)] = &[$(($class, $method, $text),)*];
    };
}

methods! {
    ConnectionStart "connection.start" (10, 10)
        [] { version_major: u8, version_minor: u8, server_properties: Table, mechanisms: LongBytes,
             locales: LongBytes } []
    ConnectionStartOk "connection.start-ok" (10, 11)
        [] { client_properties: Table, mechanism: ShortStr, response: LongBytes, locale: ShortStr } []
    ConnectionSecure "connection.secure" (10, 20) [] { challenge: LongBytes } []
    ConnectionSecureOk "connection.secure-ok" (10, 21) [] { response: LongBytes } []
    ConnectionTune "connection.tune" (10, 30) [] { channel_max: u16, frame_max: u32, heartbeat: u16 } []
    ConnectionTuneOk "connection.tune-ok" (10, 31) [] { channel_max: u16, frame_max: u32, heartbeat: u16 } []
    ConnectionOpen "connection.open" (10, 40) [] { virtual_host: ShortStr } [ShortStr, bool]
    ConnectionOpenOk "connection.open-ok" (10, 41) [] {} [ShortStr]
    ConnectionClose "connection.close" (10, 50)
        [] { reply_code: u16, reply_text: ShortStr, class_id: u16, method_id: u16 } []
    ConnectionCloseOk "connection.close-ok" (10, 51) [] {} []
    ConnectionBlocked "connection.blocked" (10, 60) [] { reason: ShortStr } []
    ConnectionUnblocked "connection.unblocked" (10, 61) [] {} []
    ConnectionUpdateSecret "connection.update-secret" (10, 70)
        [] { new_secret: LongBytes, reason: ShortStr } []
    ConnectionUpdateSecretOk "connection.update-secret-ok" (10, 71) [] {} []

    ChannelOpen "channel.open" (20, 10) [] {} [ShortStr]
    ChannelOpenOk "channel.open-ok" (20, 11) [] {} [LongBytes]
    ChannelFlow "channel.flow" (20, 20) [] { active: bool } []
    ChannelFlowOk "channel.flow-ok" (20, 21) [] { active: bool } []
    ChannelClose "channel.close" (20, 40)
        [] { reply_code: u16, reply_text: ShortStr, class_id: u16, method_id: u16 } []
    ChannelCloseOk "channel.close-ok" (20, 41) [] {} []

    /// Of AMQP 0-8 and 0-9; still sent by old clients.
    AccessRequest "access.request" (30, 10)
        [] { realm: ShortStr, exclusive: bool, passive: bool, active: bool, write: bool, read: bool } []
    AccessRequestOk "access.request-ok" (30, 11) [] { ticket: u16 } []

    ExchangeDeclare "exchange.declare" (40, 10)
        [u16] { exchange: ShortStr, kind: ShortStr, passive: bool, durable: bool, auto_delete: bool,
                internal: bool, nowait: bool, arguments: Table } []
    ExchangeDeclareOk "exchange.declare-ok" (40, 11) [] {} []
    ExchangeDelete "exchange.delete" (40, 20)
        [u16] { exchange: ShortStr, if_unused: bool, nowait: bool } []
    ExchangeDeleteOk "exchange.delete-ok" (40, 21) [] {} []
    ExchangeBind "exchange.bind" (40, 30)
        [u16] { destination: ShortStr, source: ShortStr, routing_key: ShortBytes, nowait: bool,
                arguments: Table } []
    ExchangeBindOk "exchange.bind-ok" (40, 31) [] {} []
    ExchangeUnbind "exchange.unbind" (40, 40)
        [u16] { destination: ShortStr, source: ShortStr, routing_key: ShortBytes, nowait: bool,
                arguments: Table } []
    ExchangeUnbindOk "exchange.unbind-ok" (40, 51) [] {} []

    QueueDeclare "queue.declare" (50, 10)
        [u16] { queue: ShortStr, passive: bool, durable: bool, exclusive: bool, auto_delete: bool,
                nowait: bool, arguments: Table } []
    QueueDeclareOk "queue.declare-ok" (50, 11)
        [] { queue: ShortStr, message_count: u32, consumer_count: u32 } []
    QueueBind "queue.bind" (50, 20)
        [u16] { queue: ShortStr, exchange: ShortStr, routing_key: ShortBytes, nowait: bool,
                arguments: Table } []
    QueueBindOk "queue.bind-ok" (50, 21) [] {} []
    QueuePurge "queue.purge" (50, 30) [u16] { queue: ShortStr, nowait: bool } []
    QueuePurgeOk "queue.purge-ok" (50, 31) [] { message_count: u32 } []
    QueueDelete "queue.delete" (50, 40)
        [u16] { queue: ShortStr, if_unused: bool, if_empty: bool, nowait: bool } []
    QueueDeleteOk "queue.delete-ok" (50, 41) [] { message_count: u32 } []
    QueueUnbind "queue.unbind" (50, 50)
        [u16] { queue: ShortStr, exchange: ShortStr, routing_key: ShortBytes, arguments: Table } []
    QueueUnbindOk "queue.unbind-ok" (50, 51) [] {} []

    BasicQos "basic.qos" (60, 10) [] { prefetch_size: u32, prefetch_count: u16, global: bool } []
    BasicQosOk "basic.qos-ok" (60, 11) [] {} []
    BasicConsume "basic.consume" (60, 20)
        [u16] { queue: ShortStr, consumer_tag: ShortStr, no_local: bool, no_ack: bool, exclusive: bool,
                nowait: bool, arguments: Table } []
    BasicConsumeOk "basic.consume-ok" (60, 21) [] { consumer_tag: ShortStr } []
    BasicCancel "basic.cancel" (60, 30) [] { consumer_tag: ShortStr, nowait: bool } []
    BasicCancelOk "basic.cancel-ok" (60, 31) [] { consumer_tag: ShortStr } []
    BasicPublish "basic.publish" (60, 40)
        [u16] { exchange: ShortStr, routing_key: ShortBytes, mandatory: bool, immediate: bool } []
    BasicReturn "basic.return" (60, 50)
        [] { reply_code: u16, reply_text: ShortStr, exchange: ShortStr, routing_key: ShortBytes } []
    BasicDeliver "basic.deliver" (60, 60)
        [] { consumer_tag: ShortStr, delivery_tag: u64, redelivered: bool, exchange: ShortStr,
             routing_key: ShortBytes } []
    BasicGet "basic.get" (60, 70) [u16] { queue: ShortStr, no_ack: bool } []
    BasicGetOk "basic.get-ok" (60, 71)
        [] { delivery_tag: u64, redelivered: bool, exchange: ShortStr, routing_key: ShortBytes,
             message_count: u32 } []
    BasicGetEmpty "basic.get-empty" (60, 72) [] {} [ShortStr]
    BasicAck "basic.ack" (60, 80) [] { delivery_tag: u64, multiple: bool } []
    BasicReject "basic.reject" (60, 90) [] { delivery_tag: u64, requeue: bool } []
    BasicRecoverAsync "basic.recover-async" (60, 100) [] { requeue: bool } []
    BasicRecover "basic.recover" (60, 110) [] { requeue: bool } []
    BasicRecoverOk "basic.recover-ok" (60, 111) [] {} []
    BasicNack "basic.nack" (60, 120) [] { delivery_tag: u64, multiple: bool, requeue: bool } []

    ConfirmSelect "confirm.select" (85, 10) [] { nowait: bool } []
    ConfirmSelectOk "confirm.select-ok" (85, 11) [] {} []

    TxSelect "tx.select" (90, 10) [] {} []
    TxSelectOk "tx.select-ok" (90, 11) [] {} []
    TxCommit "tx.commit" (90, 20) [] {} []
    TxCommitOk "tx.commit-ok" (90, 21) [] {} []
    TxRollback "tx.rollback" (90, 30) [] {} []
    TxRollbackOk "tx.rollback-ok" (90, 31) [] {} []
}

impl Method {
    /// Whether a content header and body follow.
    pub fn has_content(&self) -> bool {
        matches!(
            self,
            Method::BasicPublish { .. }
                | Method::BasicReturn { .. }
                | Method::BasicDeliver { .. }
                | Method::BasicGetOk { .. }
        )
    }
}
