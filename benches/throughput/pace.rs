//! Publishes events at a steady rate, and measures the time until a subscriber receives their changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::{Connection, ConnectionProperties};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::messages::Message;
use crate::publish;
use crate::subscriber::Subscriber;

/// How long a change may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// An event whose change was received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// When the event was due to be published. A delay in publishing counts as latency.
    pub due: Instant,
    /// From then until its first change was received.
    pub after: Duration,
}

/// Publishes events, each of which causes a change of this type, until all are published or `stop` is cancelled. Then
/// waits until the changes of all published events were received.
pub async fn run(
    vhost: &str,
    messages: Vec<Message>,
    change: &str,
    per_second: u32,
    stop: CancellationToken,
) -> Vec<Received> {
    let mut subscriber = Subscriber::live(vhost, change).await;
    let places: HashMap<Arc<str>, usize> = messages
        .iter()
        .enumerate()
        .map(|(place, message)| (message.id.clone(), place))
        .collect();
    let interval = Duration::from_secs(1) / per_second;
    let start = Instant::now() + Duration::from_millis(100);
    let due = |place: usize| start + interval * u32::try_from(place).expect("not that many");
    let connection = Connection::connect(vhost, ConnectionProperties::default())
        .await
        .expect("a connection");
    let mut publishing = tokio::spawn(publish_at(connection, messages, start, interval, stop));
    let mut published = None;
    let mut received: Vec<Option<Instant>> = vec![None; places.len()];
    let mut count = 0;
    while published != Some(count) {
        let patience = tokio::time::sleep(PATIENCE);
        tokio::select! {
            done = &mut publishing, if published.is_none() => published = Some(done.expect("published")),
            delivery = subscriber.consumer.next() => {
                let now = Instant::now();
                let delivery = delivery.expect("a delivery").expect("no error");
                if let Some(place) = cause(&delivery.data).and_then(|id| places.get(id)) {
                    count += usize::from(received[*place].replace(now).is_none());
                }
            }
            () = patience => panic!("received {count} changes of {published:?}, and no more arrive"),
        }
    }
    let after = |(place, at): (usize, Instant)| Received {
        due: due(place),
        after: at.saturating_duration_since(due(place)),
    };
    received
        .into_iter()
        .enumerate()
        .filter_map(|(place, at)| Some(after((place, at?))))
        .collect()
}

/// Publishes at the times that the rate demands, and returns how many messages it published.
async fn publish_at(
    connection: Connection,
    messages: Vec<Message>,
    start: Instant,
    interval: Duration,
    stop: CancellationToken,
) -> usize {
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    let (confirms, mut confirming) = tokio::sync::mpsc::unbounded_channel();
    let confirmed = tokio::spawn(async move {
        while let Some(confirm) = confirming.recv().await {
            publish::confirmed(confirm).await;
        }
    });
    let mut published = 0;
    let mut due = start;
    for message in &messages {
        let pause = tokio::time::sleep_until(due.into());
        if stop.run_until_cancelled(pause).await.is_none() {
            break;
        }
        confirms
            .send(publish::send(&channel, message).await)
            .expect("someone waits for it");
        published += 1;
        due += interval;
    }
    drop(confirms);
    confirmed.await.expect("all are confirmed");
    connection.close(200, "OK".into()).await.expect("closed");
    published
}

/// The id of the event that caused a change.
fn cause(change: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Change<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        cause: Cause<'a>,
    }
    #[derive(Deserialize)]
    struct Cause<'a> {
        id: Option<&'a str>,
    }
    let change: Change<'_> = serde_json::from_slice(change).expect("a change");
    change.data.cause.id
}
