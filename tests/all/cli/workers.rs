//! `tenure workers list`.

use super::Given;

#[test]
fn a_worker_is_listed_while_it_runs() {
    let given = Given::nothing();
    given.tenure.ok(&["migrate"]);
    assert_eq!(
        given.tenure.json(&["workers", "list"]),
        Vec::<serde_json::Value>::new()
    );
    let running = given.with(&[("HOSTNAME", "shop-floor")]).run();
    running.wait_until("listed", || given.tenure.json(&["workers", "list"]).len() == 1);
    let table = given.tenure.ok(&["workers", "list"]);
    for text in ["shop-floor-", "runs", env!("CARGO_PKG_VERSION")] {
        assert!(table.contains(text), "{table}");
    }
    let csv = given.tenure.ok(&["workers", "list", "-o", "csv"]);
    assert!(
        csv.starts_with("worker,status,version,started,last_seen,lanes,leads\r\nshop-floor-"),
        "{csv}"
    );
    assert!(running.stop().success());
    assert!(given.tenure.json(&["workers", "list"]).is_empty());
}
