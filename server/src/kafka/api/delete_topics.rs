//! DeleteTopics: finds each topic by its name or its id and asks the catalog to delete it.

use crate::broker::catalog::CatalogRequest;
use crate::broker::command::{Command, Event};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::delete_topics::{
    DeleteTopicsRequest, DeleteTopicsResponse, DeletedTopic, DoomedTopic,
};
use crate::kafka::wire::{Reader, WireError};

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = DeleteTopicsRequest::decode(body, call.header.version)?;
    let mut waiting = Waiting { results: Vec::new(), places: Vec::new(), missing: 0 };
    for topic in request.topics {
        let (name, error) = find(&topic, call);
        if error == ErrorCode::None
            && let Some(name) = name.clone()
        {
            call.ask(Command::Catalog(CatalogRequest::DeleteTopic { name }));
            waiting.places.push(waiting.results.len());
            waiting.missing += 1;
        }
        let known = name.as_deref().and_then(|name| call.cx.catalog.topic(name));
        let (topic_id, error_code) = (known.map_or(topic.topic_id, |known| known.id), error.code());
        waiting.results.push(DeletedTopic { name, topic_id, error_code, error_message: None });
    }
    if waiting.missing > 0 {
        Ok(Handled::Later(Box::new(waiting)))
    } else {
        Ok(Handled::Now(waiting.reply(call)))
    }
}

/// The name to answer with, and whether there is such a topic.
fn find(topic: &DoomedTopic, call: &Call<'_, '_>) -> (Option<String>, ErrorCode) {
    let by_id = topic.topic_id != [0; 16];
    match &topic.name {
        Some(_) if by_id => (topic.name.clone(), ErrorCode::InvalidRequest),
        None if !by_id => (None, ErrorCode::InvalidRequest),
        Some(name) if call.cx.catalog.topic(name).is_none() => {
            (Some(name.clone()), ErrorCode::UnknownTopicOrPartition)
        }
        Some(name) => (Some(name.clone()), ErrorCode::None),
        None => match call.cx.catalog.topic_by_id(&topic.topic_id) {
            Some(found) => (Some(found.name.clone()), ErrorCode::None),
            None => (None, ErrorCode::UnknownTopicId),
        },
    }
}

/// The answer so far.
struct Waiting {
    results: Vec<DeletedTopic>,
    /// Place in the results, by number of the command.
    places: Vec<usize>,
    /// Commands not answered.
    missing: usize,
}

impl Waiting {
    fn reply(&mut self, call: &Call<'_, '_>) -> Reply {
        let responses = std::mem::take(&mut self.results);
        let mut writer = call.response();
        DeleteTopicsResponse { throttle_time_ms: 0, responses }.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }
}

impl Pending for Waiting {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Catalog(outcome) = event else { return None };
        let place = self.places.get(index as usize)?;
        let result = self.results.get_mut(*place)?;
        if let Err(error) = outcome {
            result.error_code = ErrorCode::from(&error).code();
        }
        self.missing -= 1;
        (self.missing == 0).then(|| self.reply(call))
    }
}
