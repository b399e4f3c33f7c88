//! Server-sent events: one JSON object an event, then `[DONE]`.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// How many events may wait for a slow reader before its handler waits too.
const BACKLOG: usize = 64;
/// How often an empty comment is sent while nothing else is, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The writing end of a stream of events.
pub(crate) struct Writer(Sender<Event>);

/// The client went away.
pub(crate) struct Gone;

impl Writer {
    /// A stream's writing end, and the response that carries it.
    pub(crate) fn new() -> (Writer, Response) {
        let (sender, receiver): (Sender<Event>, Receiver<Event>) = channel(BACKLOG);
        let events = ReceiverStream::new(receiver).map(Ok::<_, Infallible>);
        let response = Sse::new(events)
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response();
        (Writer(sender), response)
    }

    /// Sends one object.
    pub(crate) async fn send(&self, value: &Value) -> Result<(), Gone> {
        self.0
            .send(Event::default().data(value.to_string()))
            .await
            .map_err(|_| Gone)
    }

    /// Sends one object under the name that its `type` gives it.
    pub(crate) async fn send_typed(&self, value: &Value) -> Result<(), Gone> {
        let name = value["type"].as_str().unwrap_or("message");
        let event = Event::default().event(name).data(value.to_string());
        self.0.send(event).await.map_err(|_| Gone)
    }

    /// Ends the stream as clients expect it.
    pub(crate) async fn done(&self) -> Result<(), Gone> {
        self.0
            .send(Event::default().data("[DONE]"))
            .await
            .map_err(|_| Gone)
    }

    /// Resolves once the client has gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}
