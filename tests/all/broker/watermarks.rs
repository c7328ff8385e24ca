//! Heartbeats through the lanes' own queues, and the watermarks that they leave.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use tenure::broker::BrokerSettings;

use super::given::*;
use crate::support::servers::RabbitMq;

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
async fn every_lane_goes_on_while_nothing_happens() {
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
async fn a_watermark_stays_behind_what_waits() {
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
async fn a_heartbeat_cannot_be_forged_by_who_publishes_events() {
    let url = RabbitMq::shared().vhost("forged");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let lane = "tenure.events.0";
    let upstream = Upstream::at(&url).await;
    let heartbeat =
        || BasicProperties::default().with_content_type("application/vnd.tenure.heartbeat".into());
    upstream.publish(heartbeat(), b"2040-01-01T00:00:00Z").await;
    let letters = tenure.wait_for_letters(1).await;
    assert_eq!(letters[0].letter.body, b"2040-01-01T00:00:00Z");
    assert_eq!(watermark(&tenure, lane).await, None);

    // Whoever may write to the queue itself has a clock that is wrong: ours is not ahead of itself.
    let sent = async |text: &str| {
        let (options, properties) = (BasicPublishOptions::default(), heartbeat());
        upstream
            .channel
            .basic_publish("".into(), lane.into(), options, text.as_bytes(), properties)
            .await
            .expect("published");
    };
    let before = tenure.engine.now().trunc_subsecs(6);
    sent("not a time").await;
    sent("2040-01-01T00:00:00Z").await;
    wait_for_watermark(&tenure, lane, before).await;
    assert!(watermark(&tenure, lane).await <= Some(tenure.engine.now()));
    // And one of the past takes nothing back.
    let known = watermark(&tenure, lane).await;
    sent("2020-01-01T00:00:00Z").await;
    wait_for_depth(&url, lane, 0).await;
    assert_eq!(watermark(&tenure, lane).await, known);
    worker.stop().await;
}
