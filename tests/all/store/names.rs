//! Names: which client of a partner holds one.

use std::collections::HashMap;

use tenure::domain::ClientKey;
use tenure::store::NameClaim;

use super::Fresh;
use super::given::*;

pub async fn one_client_of_a_partner_holds_a_name(fresh: Fresh) {
    let store = &*fresh.store;
    let elsewhere = ClientKey::new("other", "bakery").unwrap();
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    failed_redrives(store, clients(vec![new_client(&key("b"), "BAKERY")])).await;
    put(store, clients(vec![new_client(&elsewhere, "Bakery")]))
        .await
        .unwrap();
    // A client that holds no name may have the same one.
    let mut nameless = new_client(&key("b"), "Bakery");
    nameless.name_key = None;
    put(store, clients(vec![nameless])).await.unwrap();
    // A released name is free.
    let mut gone = write(&key("a"), new_client(&key("a"), "Bakery").document.client, 1);
    gone.name_key = None;
    put(store, clients(vec![gone])).await.unwrap();
    put(store, clients(vec![new_client(&key("c"), "Bakery")]))
        .await
        .unwrap();
}

pub async fn two_clients_swap_names_in_one_commit(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let new = vec![new_client(&a, "Bakery"), new_client(&b, "Butcher")];
    put(store, clients(new)).await.unwrap();
    let called =
        |key: &ClientKey, name: &str, version| write(key, new_client(key, name).document.client, version);
    let swapped = vec![
        called(&a, "Butcher", 1),
        called(&b, "Greengrocer", 1),
        called(&c, "Bakery", 0),
    ];
    put(store, clients(swapped)).await.unwrap();
    failed_redrives(store, clients(vec![called(&key("d"), "Greengrocer", 0)])).await;
}

/// On PostgreSQL a deferrable constraint notices at the end of the statement, after the row of its answer.
pub async fn a_client_cannot_be_renamed_to_a_name_that_is_held(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let new = vec![new_client(&a, "Bakery"), new_client(&b, "Butcher")];
    put(store, clients(new)).await.unwrap();
    let renamed = write(&b, new_client(&b, "Bakery").document.client, 1);
    failed_redrives(store, clients(vec![renamed])).await;
    assert_eq!(store.client(&b).await.unwrap().unwrap().version, 1);
}

pub async fn holders_returns_the_clients_that_hold_names(fresh: Fresh) {
    let store = &*fresh.store;
    let straße = key("a");
    put(store, clients(vec![new_client(&straße, "Straße")]))
        .await
        .unwrap();
    let claim = |partner: &str, called: &str| NameClaim {
        partner: partner.into(),
        name_key: name(called).key(),
    };
    let asked = [
        claim("acme", "STRASSE"),
        claim("other", "Straße"),
        claim("acme", "Weg"),
    ];
    let mut batch = store.begin().await.unwrap();
    let holders = batch.holders(&asked).await.unwrap();
    assert_eq!(holders, HashMap::from([(asked[0].clone(), straße.clone())]));
    assert_eq!(batch.holders(&[]).await.unwrap(), HashMap::new());
    batch.rollback().await.unwrap();
    for (claim, holder) in asked.iter().zip([Some(straße), None, None]) {
        assert_eq!(store.holder(claim).await.unwrap(), holder, "{claim:?}");
    }
}
