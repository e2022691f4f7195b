//! Queues, exchanges and bindings: declared, bound, purged, deleted.
//!
//! In: methods of the classes exchange and queue. Out: catalog requests, and replies when every core shows the
//! change. Never: changes the catalog where it already is as wanted.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::channel::{Channel, Step};
use super::deliver::is_stream;
use super::error::{AmqpError, Code};
use super::exchange::{ALTERNATE_EXCHANGE, Kind};
use super::link::{Link, owner};
use super::names;
use super::queue_arguments::{QueueType, check_equivalent, settings_of};
use super::wire::method::Method;
use super::wire::table::{Table, Value};
use crate::broker::catalog::{
    Binding, CatalogError, CatalogRequest, Destination, Exchange, QueueSettings, Topic,
};
use crate::broker::command::{CatalogReply, Command, QueueCounts};
use crate::broker::context::Context;

/// A declaration that lost a race is tried again so often: the winner's change may not be visible here yet.
const TRIES_MAX: u32 = 64;

/// A `queue.declare` that waits for the catalog.
#[derive(Debug)]
pub struct DeclareQueue {
    name: String,
    settings: QueueSettings,
    configs: BTreeMap<String, String>,
    arguments: Table,
    nowait: bool,
    tries: u32,
}

/// An `exchange.declare` that waits for the catalog.
#[derive(Debug)]
pub struct DeclareExchange {
    exchange: Exchange,
    nowait: bool,
    tries: u32,
}

/// A `queue.delete` that waits for the queue's counts.
#[derive(Debug)]
pub struct DeleteQueue {
    name: String,
    if_unused: bool,
    if_empty: bool,
    nowait: bool,
}

/// A change of the catalog, and what goes with it.
#[derive(Debug)]
pub struct Change {
    kind: &'static str,
    name: String,
    reply: Option<Method>,
    /// That there is nothing to change is as good.
    missing_is_fine: bool,
}

impl Channel {
    /// Every method of the classes exchange and queue.
    pub(super) fn topology(
        &mut self,
        method: Method,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        match method {
            Method::ExchangeDeclare { .. } => self.exchange_declare(method, link, cx),
            Method::ExchangeDelete { exchange, if_unused, nowait } => {
                self.exchange_delete(&exchange, if_unused, nowait, link, cx)
            }
            Method::ExchangeBind { destination, source, routing_key, nowait, arguments } => {
                let binding = exchange_binding(&destination, &source, &routing_key, &arguments);
                let reply = (!nowait).then_some(Method::ExchangeBindOk {});
                self.bind(binding, reply, link, cx)
            }
            Method::ExchangeUnbind { destination, source, routing_key, nowait, arguments } => {
                let binding = exchange_binding(&destination, &source, &routing_key, &arguments);
                let reply = (!nowait).then_some(Method::ExchangeUnbindOk {});
                self.unbind(binding, reply, link, cx)
            }
            Method::QueueDeclare { .. } => self.queue_declare(method, link, cx),
            Method::QueueBind { queue, exchange, routing_key, nowait, arguments } => {
                let binding = self.queue_binding(&queue, &exchange, &routing_key, &arguments)?;
                self.bind(binding, (!nowait).then_some(Method::QueueBindOk {}), link, cx)
            }
            Method::QueueUnbind { queue, exchange, routing_key, arguments } => {
                let binding = self.queue_binding(&queue, &exchange, &routing_key, &arguments)?;
                self.unbind(binding, Some(Method::QueueUnbindOk {}), link, cx)
            }
            Method::QueuePurge { queue, nowait } => self.queue_purge(&queue, nowait, link, cx),
            Method::QueueDelete { queue, if_unused, if_empty, nowait } => {
                let name = self.queue_name(&queue)?;
                self.queue_delete(DeleteQueue { name, if_unused, if_empty, nowait }, link, cx)
            }
            _ => Ok(()),
        }
    }

    // -- exchanges --------------------------------------------------------------------------------------

    fn exchange_declare(
        &mut self,
        method: Method,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let Method::ExchangeDeclare {
            exchange,
            kind,
            passive,
            durable,
            auto_delete,
            internal,
            nowait,
            arguments,
        } = method
        else {
            return Ok(());
        };
        let name = names::cleaned(&exchange);
        names::refuse_default(&name)?;
        let found = cx.catalog.exchange(&name);
        if passive {
            found.ok_or_else(|| AmqpError::no_exchange(&name))?;
            self.reply((!nowait).then_some(Method::ExchangeDeclareOk {}), link);
            return Ok(());
        }
        if Kind::of(&kind).is_none() {
            return Err(AmqpError::precondition(format!("unknown exchange type '{kind}'")));
        }
        if arguments.get(ALTERNATE_EXCHANGE).is_some_and(|value| value.as_str().is_none()) {
            let why = format!("invalid arg '{ALTERNATE_EXCHANGE}' for exchange '{name}' in vhost '/'");
            return Err(AmqpError::precondition(why));
        }
        if found.is_none() {
            names::refuse_reserved("exchange", &name)?;
        }
        let arguments = Bytes::copy_from_slice(arguments.raw());
        let exchange = Exchange { name, kind: kind.to_string(), durable, auto_delete, internal, arguments };
        self.create_exchange(DeclareExchange { exchange, nowait, tries: 0 }, link, cx)
    }

    fn create_exchange(
        &mut self,
        declare: DeclareExchange,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        if let Some(found) = cx.catalog.exchange(&declare.exchange.name) {
            same_exchange(&declare.exchange, found)?;
            self.reply((!declare.nowait).then_some(Method::ExchangeDeclareOk {}), link);
            return Ok(());
        }
        let request = CatalogRequest::DeclareExchange(declare.exchange.clone());
        self.wait(Step::CreateExchange(Box::new(declare)), Command::Catalog(request), link, cx);
        Ok(())
    }

    pub(super) fn exchange_created(
        &mut self,
        declare: DeclareExchange,
        result: Result<CatalogReply, CatalogError>,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        match result {
            Ok(_) => {
                self.reply((!declare.nowait).then_some(Method::ExchangeDeclareOk {}), link);
                Ok(())
            }
            Err(CatalogError::Exists) if declare.tries < TRIES_MAX => {
                self.create_exchange(DeclareExchange { tries: declare.tries + 1, ..declare }, link, cx)
            }
            Err(error) => Err(AmqpError::from_catalog(error, "exchange", &declare.exchange.name)),
        }
    }

    fn exchange_delete(
        &mut self,
        name: &str,
        if_unused: bool,
        nowait: bool,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let name = names::cleaned(name);
        names::refuse_default(&name)?;
        names::refuse_reserved("exchange", &name)?;
        let change = Change {
            kind: "exchange",
            reply: (!nowait).then_some(Method::ExchangeDeleteOk {}),
            missing_is_fine: true,
            name: name.clone(),
        };
        self.change(change, CatalogRequest::DeleteExchange { name, if_unused }, link, cx);
        Ok(())
    }

    // -- queues -----------------------------------------------------------------------------------------

    fn queue_declare(
        &mut self,
        method: Method,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let Method::QueueDeclare { queue, passive, durable, exclusive, auto_delete, nowait, arguments } =
            method
        else {
            return Ok(());
        };
        if passive {
            return self.declare_passively(&queue, nowait, link, cx);
        }
        let name = match queue.is_empty() {
            true => names::generated("amq.gen-", cx.random),
            false => names::cleaned(&queue),
        };
        let kind = QueueType::of(&arguments, &name)?;
        if queue.is_empty() && kind != QueueType::Classic {
            let detail = format!("a queue of type {} needs a name of the client's", kind.name());
            return Err(AmqpError::precondition(detail));
        }
        let (mut settings, configs) = settings_of(&arguments, &name)?;
        settings.durable = durable;
        settings.auto_delete = auto_delete;
        settings.owner = exclusive.then_some(cx.session);
        check_properties(&settings, kind, &name)?;
        if !queue.is_empty() && cx.catalog.topic(&name).is_none() {
            names::refuse_reserved("queue", &name)?;
        }
        let declare = DeclareQueue { name, settings, configs, arguments, nowait, tries: 0 };
        self.create_queue(declare, link, cx)
    }

    fn declare_passively(
        &mut self,
        name: &str,
        nowait: bool,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let name = self.queue_name(name)?;
        let topic = names::queue(cx, &name)?;
        self.count_declared(topic, nowait, link, cx);
        Ok(())
    }

    fn create_queue(
        &mut self,
        declare: DeclareQueue,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        if let Some(topic) = cx.catalog.topic(&declare.name) {
            same_queue(&declare, topic)?;
            self.count_declared(topic, declare.nowait, link, cx);
            return Ok(());
        }
        if declare.settings.owner.is_some() {
            link.exclusive_queues.insert(declare.name.clone());
        }
        let request = CatalogRequest::CreateTopic {
            name: declare.name.clone(),
            partitions: 1,
            configs: declare.configs.clone(),
            queue: Some(declare.settings.clone()),
        };
        self.wait(Step::CreateQueue(Box::new(declare)), Command::Catalog(request), link, cx);
        Ok(())
    }

    pub(super) fn queue_created(
        &mut self,
        declare: DeclareQueue,
        result: Result<CatalogReply, CatalogError>,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        match result {
            Ok(_) => {
                self.declared(&declare.name, declare.nowait, QueueCounts::default(), link);
                Ok(())
            }
            Err(CatalogError::Exists) if declare.tries < TRIES_MAX => {
                link.exclusive_queues.remove(&declare.name);
                self.create_queue(DeclareQueue { tries: declare.tries + 1, ..declare }, link, cx)
            }
            Err(error) => Err(AmqpError::from_catalog(error, "queue", &declare.name)),
        }
    }

    /// The queue is there: its counts belong into the reply.
    fn count_declared(&mut self, topic: &Topic, nowait: bool, link: &mut Link, cx: &mut Context<'_>) {
        match topic.partitions.as_slice() {
            [log] if !nowait => {
                let step = Step::CountDeclared { queue: topic.name.clone(), nowait };
                self.wait(step, Command::QueueStatus { log: *log }, link, cx);
            }
            _ => self.declared(&topic.name, nowait, QueueCounts::default(), link),
        }
    }

    pub(super) fn declared(&mut self, queue: &str, nowait: bool, counts: QueueCounts, link: &mut Link) {
        self.last_queue = queue.to_string();
        let reply = Method::QueueDeclareOk {
            queue: queue.into(),
            message_count: u32::try_from(counts.ready).unwrap_or(u32::MAX),
            consumer_count: counts.consumers,
        };
        self.reply((!nowait).then_some(reply), link);
    }

    fn queue_purge(
        &mut self,
        name: &str,
        nowait: bool,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let queue = self.queue_name(name)?;
        let topic = names::queue(cx, &queue)?;
        if is_stream(topic) {
            let detail = format!("queue.purge not supported by stream queue '{queue}' in vhost '/'");
            return Err(AmqpError::not_implemented(detail));
        }
        let log = names::only_log(topic)?;
        self.wait(Step::Purge { queue, nowait }, Command::Purge { log }, link, cx);
        Ok(())
    }

    fn queue_delete(
        &mut self,
        delete: DeleteQueue,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        if cx.catalog.topic(&delete.name).is_none() {
            self.reply((!delete.nowait).then_some(Method::QueueDeleteOk { message_count: 0 }), link);
            return Ok(());
        }
        let topic = names::queue(cx, &delete.name)?;
        if topic.queue.is_none() {
            let detail =
                format!("'{}' in vhost '/' is a topic and not a queue; it is not deleted here", topic.name);
            return Err(AmqpError::refused(detail));
        }
        let log = names::only_log(topic)?;
        // Streams are deleted whatever is in them or reads them, as by RabbitMQ, and clients count on it.
        let is_asked = !is_stream(topic);
        let delete = DeleteQueue {
            if_unused: delete.if_unused && is_asked,
            if_empty: delete.if_empty && is_asked,
            ..delete
        };
        self.wait(Step::CountToDelete(delete), Command::QueueStatus { log }, link, cx);
        Ok(())
    }

    pub(super) fn delete_counted(
        &mut self,
        delete: DeleteQueue,
        counts: QueueCounts,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let DeleteQueue { name, if_unused, if_empty, nowait } = delete;
        let refuse = |why: &str| AmqpError::precondition(format!("queue '{name}' in vhost '/' {why}"));
        if if_unused && counts.consumers > 0 {
            return Err(refuse("in use"));
        }
        if if_empty && counts.ready > 0 {
            return Err(refuse("not empty"));
        }
        link.exclusive_queues.remove(&name);
        let message_count = u32::try_from(counts.ready).unwrap_or(u32::MAX);
        let change = Change {
            kind: "queue",
            reply: (!nowait).then_some(Method::QueueDeleteOk { message_count }),
            missing_is_fine: true,
            name: name.clone(),
        };
        self.change(change, CatalogRequest::DeleteTopic { name }, link, cx);
        Ok(())
    }

    // -- bindings ---------------------------------------------------------------------------------------

    /// A binding of a queue. Where both names are empty, the key is the queue's name too.
    fn queue_binding(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &[u8],
        arguments: &Table,
    ) -> Result<Binding, AmqpError> {
        let name = self.queue_name(queue)?;
        let key = match queue.is_empty() && routing_key.is_empty() {
            true => name.as_bytes().to_vec(),
            false => routing_key.to_vec(),
        };
        Ok(binding(exchange, Destination::Queue(name), key, arguments))
    }

    fn bind(
        &mut self,
        binding: Binding,
        reply: Option<Method>,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let source = names::exchange(cx, &binding.source)?;
        match &binding.destination {
            Destination::Exchange(name) => {
                names::exchange(cx, name)?;
            }
            Destination::Queue(name) => {
                names::queue(cx, name)?;
            }
        }
        if Kind::of(&source.kind) == Some(Kind::Headers) {
            check_match(&Table::from_raw(binding.arguments.clone()))?;
        }
        if cx.catalog.bindings(&binding.source).contains(&binding) {
            self.reply(reply, link);
            return Ok(());
        }
        let change = Change {
            kind: "binding of exchange",
            name: binding.source.clone(),
            reply,
            missing_is_fine: false,
        };
        self.change(change, CatalogRequest::Bind(binding), link, cx);
        Ok(())
    }

    fn unbind(
        &mut self,
        binding: Binding,
        reply: Option<Method>,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        names::refuse_default(&binding.source)?;
        if let Destination::Queue(name) = &binding.destination
            && cx.catalog.topic(name).is_some()
        {
            names::queue(cx, name)?;
        }
        if !cx.catalog.bindings(&binding.source).contains(&binding) {
            self.reply(reply, link);
            return Ok(());
        }
        let name = binding.source.clone();
        let change = Change { kind: "binding of exchange", name, reply, missing_is_fine: true };
        self.change(change, CatalogRequest::Unbind(binding), link, cx);
        Ok(())
    }

    // -- changes ----------------------------------------------------------------------------------------

    fn change(&mut self, change: Change, request: CatalogRequest, link: &mut Link, cx: &mut Context<'_>) {
        self.wait(Step::Change(change), Command::Catalog(request), link, cx);
    }

    pub(super) fn changed(
        &mut self,
        change: Change,
        result: Result<CatalogReply, CatalogError>,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        match result {
            Err(CatalogError::NotFound) if change.missing_is_fine => {}
            Err(error) => return Err(AmqpError::from_catalog(error, change.kind, &change.name)),
            Ok(_) => {}
        }
        self.reply(change.reply, link);
        Ok(())
    }
}

fn exchange_binding(destination: &str, source: &str, routing_key: &[u8], arguments: &Table) -> Binding {
    let destination = Destination::Exchange(names::cleaned(destination));
    binding(source, destination, routing_key.to_vec(), arguments)
}

fn binding(source: &str, destination: Destination, routing_key: Vec<u8>, arguments: &Table) -> Binding {
    let arguments = Bytes::copy_from_slice(arguments.raw());
    Binding { source: names::cleaned(source), destination, routing_key, arguments }
}

/// `x-match` of a binding to a headers exchange is one of four words.
fn check_match(arguments: &Table) -> Result<(), AmqpError> {
    match arguments.get("x-match") {
        None => Ok(()),
        Some(Value::LongStr(b"all" | b"any" | b"all-with-x" | b"any-with-x")) => Ok(()),
        Some(Value::LongStr(other)) => Err(AmqpError::precondition(format!(
            "invalid x-match field value '{}'; expected all, any, all-with-x, or any-with-x",
            String::from_utf8_lossy(other)
        ))),
        Some(_) => Err(AmqpError::precondition("invalid x-match field type; expected longstr")),
    }
}

fn inequivalent(kind: &str, name: &str, argument: &str, received: &str, current: &str) -> AmqpError {
    AmqpError::precondition(format!(
        "inequivalent arg '{argument}' for {kind} '{name}' in vhost '/': received '{received}' but current is \
         '{current}'"
    ))
}

fn same_exchange(declared: &Exchange, found: &Exchange) -> Result<(), AmqpError> {
    let alternate = |exchange: &Exchange| {
        let arguments = Table::from_raw(exchange.arguments.clone());
        arguments.get(ALTERNATE_EXCHANGE).and_then(Value::as_str).unwrap_or("none").to_string()
    };
    let flag = |flag: bool| flag.to_string();
    for (argument, received, current) in [
        ("type", declared.kind.clone(), found.kind.clone()),
        ("durable", flag(declared.durable), flag(found.durable)),
        ("auto_delete", flag(declared.auto_delete), flag(found.auto_delete)),
        ("internal", flag(declared.internal), flag(found.internal)),
        (ALTERNATE_EXCHANGE, alternate(declared), alternate(found)),
    ] {
        if received != current {
            return Err(inequivalent("exchange", &found.name, argument, &received, &current));
        }
    }
    Ok(())
}

fn same_queue(declare: &DeclareQueue, topic: &Topic) -> Result<(), AmqpError> {
    let (name, declared) = (&topic.name, &declare.settings);
    let Some(found) = &topic.queue else {
        if declared.stream {
            names::only_log(topic)?;
            return Ok(());
        }
        return Err(AmqpError::precondition(format!(
            "'{name}' in vhost '/' is a topic: it can be declared with x-queue-type=stream, not as a queue"
        )));
    };
    if owner(topic) != declared.owner {
        return Err(AmqpError::locked(name));
    }
    for (argument, received, current) in [
        ("durable", declared.durable, found.durable),
        ("auto_delete", declared.auto_delete, found.auto_delete),
    ] {
        if received != current {
            return Err(inequivalent("queue", name, argument, &received.to_string(), &current.to_string()));
        }
    }
    check_equivalent(&declare.arguments, &Table::from_raw(found.arguments.clone()), name)
}

/// Quorum queues and streams are durable, belong to nobody, and stay until they are deleted.
fn check_properties(settings: &QueueSettings, kind: QueueType, name: &str) -> Result<(), AmqpError> {
    let wrong = match kind {
        QueueType::Classic => None,
        _ if !settings.durable => Some("non-durable"),
        _ if settings.owner.is_some() => Some("exclusive-owner"),
        _ if settings.auto_delete => Some("auto-delete"),
        _ => None,
    };
    match wrong {
        Some(property) => Err(AmqpError::new(
            Code::PreconditionFailed,
            format!("invalid property '{property}' for queue '{name}' in vhost '/'"),
        )),
        None => Ok(()),
    }
}
