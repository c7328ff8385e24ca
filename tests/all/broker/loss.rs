//! Connections, queues and servers that go away and come back.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use lapin::options::QueueDeleteOptions;

use super::given::*;
use crate::support::proxy::Proxy;
use crate::support::servers::{RabbitMq, name_in};

#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_are_reopened_and_nothing_is_lost() {
    let url = RabbitMq::shared().vhost("cut");
    let tenure = Tenure::new().await;
    let subscriber = Subscriber::at(&url).await;
    let worker = tenure.work(settings(&url)).await;
    for round in 0..3 {
        let upstream = Upstream::at(&url).await;
        for n in 0..100 {
            let id = format!("{round}-{n}");
            upstream.add(&id, &id).await;
        }
        drop(upstream);
        // RabbitMQ does not list a new connection at once.
        let closed = Cell::new(0);
        wait_for("two closed connections", async || {
            let vhost = name_in(&url).to_owned();
            let cut = tokio::task::spawn_blocking(move || RabbitMq::shared().close_all_connections(&vhost));
            closed.set(closed.get() + cut.await.unwrap());
            closed.get() >= 2
        })
        .await;
    }
    let upstream = Upstream::at(&url).await;
    upstream.add("last", "last").await;
    tenure.wait_for_events(301).await;
    worker.state.connected().await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    wait_for("an empty backlog", async || {
        tenure.engine.store().count_unpublished().await.unwrap() == 0
    })
    .await;
    let last = tenure.journal("last").await;
    let last = last.last().unwrap().cursor.sequence;
    let received = subscriber
        .receive_until(|change| change["data"]["sequence"] == last)
        .await;
    let ids: BTreeSet<i64> = received
        .iter()
        .map(|(_, change)| change["data"]["sequence"].as_i64().unwrap())
        .collect();
    assert_eq!(
        i64::try_from(ids.len()).unwrap(),
        tenure.census().await.journal,
        "every change, once or more"
    );
    worker.stop().await;
}

/// The client library never answers some calls that are made while it gives a connection up.
#[test]
fn a_connection_lost_while_opening_channels_is_reopened() {
    let url = RabbitMq::shared().vhost("while_opened");
    let proxy = Proxy::to(RabbitMq::shared().port());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(channels_that_are_not_opened(&url, &proxy));
}

async fn channels_that_are_not_opened(url: &str, proxy: &Proxy) {
    let tenure = Tenure::new().await;
    let mut lanes = settings(&proxy.url(url));
    lanes.lanes = 4;
    // In the answer to who consumes: the next lane is opened when it comes.
    proxy.garble(Some(&[0, 60, 0, 21]));
    let worker = tenure.start(lanes);
    for attempts in [8, 12] {
        wait_for("attempts", async || proxy.connections() >= attempts).await;
        assert!(!worker.state.status().connected);
    }
    proxy.garble(None);
    tokio::time::timeout(PATIENCE, worker.state.connected())
        .await
        .expect("it connects");
    Upstream::at(url).await.add("1", "a").await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again() {
    let url = RabbitMq::shared().vhost("deleted");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    upstream
        .channel
        .queue_delete("tenure.events.0".into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    worker.wait_for_reason("stopped delivering").await;
    worker.state.connected().await;
    upstream.add("1", "a").await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
}

#[test]
fn a_worker_reconnects_after_a_restart_of_the_broker() {
    let broker = Arc::new(RabbitMq::own());
    let wire = Proxy::to(broker.port());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(restarts(&broker, &wire));
}

async fn restarts(broker: &Arc<RabbitMq>, wire: &Proxy) {
    let blocking = async |what: fn(&RabbitMq)| {
        let broker = broker.clone();
        tokio::task::spawn_blocking(move || what(&broker)).await.unwrap();
    };
    let url = broker.vhost("restart");
    let tenure = Tenure::new().await;
    let subscriber = Subscriber::at(&url).await;
    let worker = tenure.work(settings(&wire.url(&url))).await;
    let mut sent = 0;
    for how in [RabbitMq::stop, RabbitMq::kill] {
        let upstream = Upstream::at(&url).await;
        for _ in 0..20 {
            sent += 1;
            upstream.add(&sent.to_string(), &format!("c{sent}")).await;
        }
        drop(upstream);
        blocking(how).await;
        wait_for("the loss", async || !worker.state.status().connected).await;
        let before = wire.connections();
        wait_for("attempts to connect", async || wire.connections() >= before + 4).await;
        blocking(RabbitMq::start).await;
        worker.state.connected().await;
    }
    let upstream = Upstream::at(&url).await;
    sent += 1;
    upstream.add(&sent.to_string(), "last").await;
    tenure.wait_for_events(sent).await;
    let last = tenure.journal("last").await.last().unwrap().cursor.sequence;
    let received = subscriber
        .receive_until(|change| change["data"]["sequence"] == last)
        .await;
    let ids: BTreeSet<i64> = received
        .iter()
        .map(|(_, change)| change["data"]["sequence"].as_i64().unwrap())
        .collect();
    assert_eq!(
        i64::try_from(ids.len()).unwrap(),
        tenure.census().await.journal,
        "every change, once or more"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_an_absent_broker_and_can_be_stopped() {
    let tenure = Tenure::new().await;
    // The discard port: nobody listens there.
    let worker = tenure.start(settings("amqp://guest:guest@127.0.0.1:9/%2F"));
    worker.wait_for_reason("no connection to RabbitMQ").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_workers_consumes_a_lane_at_a_time() {
    let url = RabbitMq::shared().vhost("two_workers");
    let tenure = Tenure::new().await;
    let first = tenure.work(settings(&url)).await;
    let second = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    upstream.add("1", "a").await;
    tenure.wait_for_events(1).await;
    first.stop().await;
    upstream.add("2", "b").await;
    tenure.wait_for_events(2).await;
    second.stop().await;
}
