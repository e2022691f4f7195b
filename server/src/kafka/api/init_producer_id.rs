//! InitProducerId: a number for a producer, so that what it sends twice is kept once.
//!
//! Transactions are not served. A producer with a transactional id hears TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
//! which clients take as final; a coordinator that is "not available" would be asked again for ever.

use crate::broker::catalog::CatalogRequest;
use crate::broker::command::{CatalogReply, Command, Event};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::kafka::wire::{Reader, WireError, Writer};

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = InitProducerIdRequest::decode(body, call.header.version)?;
    // An id without an epoch, or the other way round.
    if (request.producer_id < 0) != (request.producer_epoch < 0) {
        return Ok(Handled::answer(answer(Err(ErrorCode::InvalidRequest), call)));
    }
    match request.transactional_id.as_deref() {
        Some("") => Ok(Handled::answer(answer(Err(ErrorCode::InvalidRequest), call))),
        Some(_) => Ok(Handled::answer(answer(Err(ErrorCode::TransactionalIdAuthorizationFailed), call))),
        None => {
            call.ask(Command::Catalog(CatalogRequest::AllocateProducerId));
            Ok(Handled::Later(Box::new(Allocating)))
        }
    }
}

/// Waits for a producer id.
struct Allocating;

impl Pending for Allocating {
    fn on_event(&mut self, _index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Catalog(result) = event else { return None };
        let result = match result {
            Ok(CatalogReply::ProducerId(id)) => Ok(id),
            Ok(CatalogReply::Done) => Err(ErrorCode::UnknownServerError),
            // Clients ask again, which is right: the journal may be writable then.
            Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        };
        Some(Reply::Answer(answer(result, call)))
    }
}

fn answer(result: Result<i64, ErrorCode>, call: &Call<'_, '_>) -> Writer {
    let response = InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code: result.err().unwrap_or(ErrorCode::None).code(),
        producer_id: result.unwrap_or(-1),
        producer_epoch: if result.is_ok() { 0 } else { -1 },
    };
    let mut writer = call.response();
    response.encode(&mut writer, call.header.version);
    writer
}
