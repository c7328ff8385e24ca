//! Heartbeats take the path of events, and advance the watermarks of the lanes.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::StreamExt;
use lapin::options::{BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Consumer};
use tenure::config::BrokerSettings;

use super::given::*;
use crate::support::servers::{RabbitMq, name_in};

const BEAT: Duration = Duration::from_millis(200);

fn beating(url: &str) -> BrokerSettings {
    BrokerSettings {
        heartbeat: BEAT,
        ..settings(url)
    }
}

async fn watermark(tenure: &Tenure, lane: &str) -> Option<DateTime<Utc>> {
    let lanes = tenure.engine.store().lanes().await.expect("lanes");
    lanes.into_iter().find(|known| known.lane == lane)?.watermark
}

async fn wait_for_watermark(tenure: &Tenure, lane: &str, after: DateTime<Utc>) {
    wait_for("a later watermark", async || {
        watermark(tenure, lane).await.is_some_and(|at| at > after)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watermarks_advance_in_every_lane_without_events() {
    let url = RabbitMq::shared().vhost("beating");
    let tenure = Tenure::new().await;
    let settings = BrokerSettings {
        lanes: 3,
        ..beating(&url)
    };
    let worker = tenure.work(settings.clone()).await;
    for lane in 0..3 {
        let lane = format!("tenure.events.{lane}");
        for _ in 0..2 {
            wait_for_watermark(&tenure, &lane, tenure.engine.now()).await;
        }
    }
    worker.stop().await;
    // Fewer lanes: what is left of the others is read empty, and waited for as long.
    let worker = tenure.work(beating(&url)).await;
    wait_for_watermark(&tenure, "tenure.events.2", tenure.engine.now()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_stays_behind_waiting_events() {
    let url = RabbitMq::shared().vhost("waiting");
    let tenure = Tenure::new().await;
    let worker = tenure.work(beating(&url)).await;
    let lane = "tenure.events.0";
    wait_for_watermark(&tenure, lane, DateTime::UNIX_EPOCH).await;
    tenure.set_away(true);
    let gone = tenure.engine.now();
    let upstream = Upstream::at(&url).await;
    for n in 0..20 {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    // Ten heartbeats later, one waits behind them, and no more.
    tenure.wait_for_calls("lanes", 10).await;
    wait_for_depth(&url, lane, 21).await;
    assert!(watermark(&tenure, lane).await <= Some(gone + TimeDelta::seconds(1)));
    tenure.set_away(false);
    wait_for_watermark(&tenure, lane, gone + TimeDelta::seconds(1)).await;
    assert_eq!(
        tenure.census().await.events,
        20,
        "all of them before the watermark"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_of_events_cannot_forge_a_heartbeat() {
    let url = RabbitMq::shared().vhost("forged");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let lane = "tenure.events.0";
    let upstream = Upstream::at(&url).await;
    let properties =
        || BasicProperties::default().with_content_type("application/vnd.tenure.heartbeat".into());
    upstream.publish(properties(), b"2040-01-01T00:00:00Z").await;
    let dead_letters = tenure.wait_for_letters(1).await;
    assert_eq!(dead_letters[0].dead_letter.body, b"2040-01-01T00:00:00Z");
    upstream
        .publish(
            properties(),
            format!("2040-01-01T00:00:00Z {}", "0".repeat(64)).as_bytes(),
        )
        .await;
    tenure.wait_for_letters(2).await;
    assert_eq!(watermark(&tenure, lane).await, None);

    // Whoever knows the key has a clock that is wrong. One far ahead is not believed, and ours is not ahead of itself.
    let sent = async |at: &str| {
        upstream
            .publish(properties(), &heartbeat(&tenure, at).await)
            .await;
    };
    sent("2040-01-01T00:00:00Z").await;
    wait_for_depth(&url, lane, 0).await;
    assert_eq!(watermark(&tenure, lane).await, None);
    let before = tenure.engine.now().trunc_subsecs(6);
    sent(&(before + TimeDelta::seconds(30)).to_rfc3339()).await;
    wait_for_watermark(&tenure, lane, before).await;
    assert!(watermark(&tenure, lane).await <= Some(tenure.engine.now()));
    // And one of the past takes nothing back.
    let known = watermark(&tenure, lane).await;
    sent("2020-01-01T00:00:00Z").await;
    wait_for_depth(&url, lane, 0).await;
    assert_eq!(watermark(&tenure, lane).await, known);
    worker.stop().await;
}

/// Heartbeats, which Tenure sends itself, say nothing about a source.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_heard_of_by_its_events_and_not_by_heartbeats() {
    let url = RabbitMq::shared().vhost("heard");
    let tenure = Tenure::new().await;
    let expected = [("/space".to_owned(), TimeDelta::hours(6))];
    tenure
        .engine
        .expect_sources(&expected.into())
        .await
        .expect("expected");
    let last_heard = async || tenure.engine.sources().await.expect("sources")[0].last_heard;
    let worker = tenure.work(beating(&url)).await;
    wait_for_watermark(&tenure, "tenure.events.0", DateTime::UNIX_EPOCH).await;
    assert_eq!(last_heard().await, None);
    Upstream::at(&url).await.add("1", "c").await;
    wait_for("the event", async || last_heard().await.is_some()).await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
}

/// Deletes something through the management API.
async fn delete(url: &str, what: &str) {
    let path = what.replacen('/', &format!("/{}/", name_in(url)), 1);
    tokio::task::spawn_blocking(move || RabbitMq::shared().manage("DELETE", &path, None))
        .await
        .expect("deleted");
}

/// Publishes an event, again and again until it reaches a queue.
async fn publish_when_routed(url: &str, id: &str) {
    wait_for("an event that reaches a queue", async || {
        let upstream = Upstream::at(url).await;
        let (options, properties) = (
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            BasicProperties::default()
                .with_content_type(STRUCTURED.into())
                .with_headers(table(&[("partitionkey", "acme/c")])),
        );
        let body = added(id, "c").to_string();
        let published = upstream.channel.basic_publish(
            "tenure.events".into(),
            "any".into(),
            options,
            body.as_bytes(),
            properties,
        );
        match published.await.expect("published").await {
            Ok(confirm) => confirm.is_ack() && confirm.take_message().is_none(),
            Err(_) => false,
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_binding_is_detected_and_restored() {
    for lanes in [1, 3] {
        let url = RabbitMq::shared().vhost("deleted");
        let tenure = Tenure::new().await;
        let worker = tenure
            .work(BrokerSettings {
                lanes,
                ..beating(&url)
            })
            .await;
        let names: Vec<String> = (0..lanes)
            .map(|number| format!("tenure.events.{number}"))
            .collect();
        let bindings = if lanes == 1 {
            vec!["bindings/e/tenure.events/q/tenure.events.0/%23"]
        } else {
            vec![
                "bindings/e/tenure.events/e/tenure.events.lanes/%23",
                "bindings/e/tenure.events.lanes/q/tenure.events.1/1",
                "exchanges/tenure.events.lanes",
            ]
        };
        for (number, what) in ["exchanges/tenure.events"]
            .into_iter()
            .chain(bindings)
            .enumerate()
        {
            for lane in &names {
                wait_for_watermark(&tenure, lane, tenure.engine.now()).await;
            }
            delete(&url, what).await;
            publish_when_routed(&url, &format!("{number}")).await;
            tenure
                .wait_for_events(i64::try_from(number).expect("small") + 1)
                .await;
            for lane in &names {
                wait_for_watermark(&tenure, lane, tenure.engine.now()).await;
            }
            worker.state.connected().await;
        }
        worker.stop().await;
    }
}

/// The key of the heartbeats that reach this lane.
async fn heartbeat_key(tenure: &Tenure, lane: &str) -> String {
    let lanes = tenure.engine.store().lanes().await.expect("lanes");
    let lane = lanes.into_iter().find(|known| known.lane == lane);
    lane.and_then(|lane| lane.partition_key).expect("a key")
}

/// Consumes a new queue that gets whatever is published to `tenure.events`.
async fn audit(upstream: &Upstream) -> Consumer {
    let channel = &upstream.channel;
    let declared = channel.queue_declare(
        "audit".into(),
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    );
    declared.await.expect("a queue");
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(
        "audit".into(),
        "tenure.events".into(),
        "#".into(),
        options,
        arguments,
    );
    bound.await.expect("a binding");
    upstream.consume("audit").await
}

/// Waits for a heartbeat with this key that was sent after this moment.
async fn wait_for_heartbeat(audit: &mut Consumer, key: &str, after: DateTime<Utc>) {
    let expected = AMQPValue::LongString(key.into());
    let heard = async {
        loop {
            let delivery = audit.next().await.expect("a delivery").expect("no error");
            let headers = delivery.properties.headers().as_ref();
            let body = std::str::from_utf8(&delivery.data).expect("text");
            let at: DateTime<Utc> = body
                .split_once(' ')
                .and_then(|(at, _)| at.parse().ok())
                .expect("a time");
            if at > after
                && headers.and_then(|headers| headers.inner().get("partitionkey")) == Some(&expected)
            {
                return;
            }
        }
    };
    let heard = tokio::time::timeout(PATIENCE, heard).await;
    heard.expect("a heartbeat");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_of_an_unbound_lane_does_not_advance() {
    for (lanes, binding) in [
        (1, "bindings/e/tenure.events/q/tenure.events.0/%23"),
        (3, "bindings/e/tenure.events.lanes/q/tenure.events.1/1"),
    ] {
        let url = RabbitMq::shared().vhost("unreached");
        let tenure = Tenure::new().await;
        tenure
            .work(BrokerSettings {
                lanes,
                ..beating(&url)
            })
            .await
            .stop()
            .await;
        let worker = tenure
            .work(BrokerSettings {
                lanes,
                declare: false,
                ..beating(&url)
            })
            .await;
        // The second time, no heartbeat of the search for the lanes' keys is on its way.
        for number in (0..lanes).chain(0..lanes) {
            let lane = format!("tenure.events.{number}");
            wait_for_watermark(&tenure, &lane, tenure.engine.now()).await;
        }
        let lane = format!("tenure.events.{}", lanes / 2);
        let key = heartbeat_key(&tenure, &lane).await;
        // Another queue gets all events: nothing comes back as unroutable.
        let mut audit = audit(&Upstream::at(&url).await).await;
        delete(&url, binding).await;
        let deleted = tenure.engine.now();
        wait_for_heartbeat(&mut audit, &key, deleted).await;
        wait_for_depth(&url, &lane, 0).await;
        assert!(watermark(&tenure, &lane).await <= Some(deleted));
        worker.stop().await;
        // Whoever may declare makes the binding again.
        let worker = tenure
            .work(BrokerSettings {
                lanes,
                ..beating(&url)
            })
            .await;
        wait_for_watermark(&tenure, &lane, tenure.engine.now()).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unbound_lane_is_reported_when_tenure_may_not_declare() {
    let url = RabbitMq::shared().vhost("unbound");
    let tenure = Tenure::new().await;
    tenure.work(beating(&url)).await.stop().await;
    delete(&url, "bindings/e/tenure.events/q/tenure.events.0/%23").await;
    let worker = tenure.start(BrokerSettings {
        declare: false,
        ..beating(&url)
    });
    worker
        .wait_for_reason("no queue receives messages of tenure.events")
        .await;
    // It says so until the binding is back, whatever it tries meanwhile.
    let before = tenure.faults.calls("lanes");
    wait_for("four more heartbeats", async || {
        assert!(!worker.state.status().connected);
        tenure.faults.calls("lanes") >= before + 4
    })
    .await;
    worker.stop().await;
}
