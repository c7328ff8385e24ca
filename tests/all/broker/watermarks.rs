//! Heartbeats that go the way of events, and the watermarks that they leave.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
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
    // Many times as long as a heartbeat: one waits behind them, and no more.
    tokio::time::sleep(BEAT * 10).await;
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
        let lane = format!("tenure.events.{}", lanes / 2);
        wait_for_watermark(&tenure, &lane, tenure.engine.now()).await;
        // Somebody else listens to all events: nothing comes back as unroutable.
        let upstream = Upstream::at(&url).await;
        upstream
            .channel
            .queue_declare(
                "audit".into(),
                QueueDeclareOptions::durable(),
                FieldTable::default(),
            )
            .await
            .expect("a queue");
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        upstream
            .channel
            .queue_bind(
                "audit".into(),
                "tenure.events".into(),
                "#".into(),
                options,
                arguments,
            )
            .await
            .expect("a binding");
        delete(&url, binding).await;
        // One may have been routed before.
        tokio::time::sleep(BEAT * 5).await;
        let stands = watermark(&tenure, &lane).await;
        assert!(stands.is_some());
        tokio::time::sleep(BEAT * 20).await;
        assert_eq!(watermark(&tenure, &lane).await, stands);
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
        .wait_for_reason("no queue takes messages of tenure.events")
        .await;
    // It says so until it is mended, and not only in turns.
    for _ in 0..20 {
        tokio::time::sleep(BEAT / 2).await;
        assert!(!worker.state.status().connected);
    }
    worker.stop().await;
}
