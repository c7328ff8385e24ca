//! How many clicks each page is away from the overview.

use std::collections::BTreeSet;

use super::html::links;
use super::pages::{serves, shown};
use super::site::year;
use crate::support::http_client;

#[tokio::test]
async fn every_page_is_at_most_three_clicks_from_the_overview() {
    let year = year();
    let mut left: BTreeSet<String> = shown().into_iter().collect();
    let mut addresses = vec!["/".to_owned()];
    for _ in 0..=3 {
        let mut next = Vec::new();
        for address in addresses {
            // Pages of one route have links to the same routes.
            let route = left.iter().find(|route| serves(route, &address)).cloned();
            let Some(route) = route else { continue };
            let page = http_client().get(year.url(&address)).send().await;
            let page = page.expect("a response");
            assert_eq!(page.status(), 200, "{address}");
            left.remove(&route);
            next.extend(links(&page.text().await.expect("text"), "/"));
        }
        addresses = next;
    }
    assert!(left.is_empty(), "further away: {left:?}");
}
