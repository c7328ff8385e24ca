//! A search among more clients than one request examines, in the order of their partners, by a client of the last partner.

use serde_json::json;
use tenure::engine::Incoming;
use tenure::wire::{Decoder, Limits};

use super::site::{Site, noon};
use crate::support::http_client;

/// More than the walk of a request examines.
const OF_BIG: usize = 5_500;
const OF_MID: usize = 500;
/// The client that is looked for.
const WANTED: &str = "href=\"/clients/zz/target-77\"";

const TOKENS: (&str, &str) = (
    "TENURE_HTTP__TOKENS",
    r#"[
        { name = "all", token = "token-of-all-0123456789", scopes = ["read"] },
        { name = "two", token = "token-of-two-0123456789", scopes = ["read"], partners = ["big", "zz"] },
        { name = "mid", token = "token-of-mid-0123456789", scopes = ["read"], partners = ["big", "mid"] },
    ]"#,
);

/// Adds the clients of `big` and `mid`, and the last one, of `zz`.
async fn many_clients() -> Site {
    let site = Site::start(noon(), &[TOKENS]).await;
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    let big = (0..OF_BIG).map(|number| ("big", format!("c{number:04}"), format!("Shop {number}")));
    let mid = (0..OF_MID).map(|number| ("mid", format!("c{number:04}"), format!("Shop {number}")));
    let last = ("zz", "target-77".to_owned(), "Velvet Harbour".to_owned());
    let incoming = big.chain(mid).chain([last]).map(|(partner, client, name)| {
        let event = json!({
            "specversion": "1.0", "id": format!("{partner}-{client}"), "source": "/test", "type": "client.added",
            "subject": format!("{partner}/{client}"), "time": noon(), "data": {"name": name},
        });
        let read = decoder.line("http", event.to_string().as_bytes());
        read.map(Incoming::from).expect("a message")
    });
    let mut incoming: Vec<Incoming> = incoming.collect();
    while !incoming.is_empty() {
        let rest = incoming.split_off(incoming.len().min(1_000));
        site.engine.ingest(incoming).await.expect("ingested");
        incoming = rest;
    }
    site
}

/// A page as text, with plain spaces and commas in its numbers.
async fn page(site: &Site, token: &str, path: &str) -> String {
    let request = http_client()
        .get(site.url(path))
        .bearer_auth(format!("token-of-{token}-0123456789"));
    let response = request.send().await.expect("a response");
    assert_eq!(response.status(), 200, "{path}");
    let text = response.text().await.expect("text");
    text.replace("<wbr>", "")
        .replace('\u{202f}', ",")
        .replace('\u{a0}', " ")
}

/// Where the link to the next clients leads.
fn next(page: &str) -> String {
    let (_, rest) = page.split_once("rel=\"next\" href=\"").expect("a link");
    rest[..rest.find('"').expect("its end")].replace("&amp;", "&")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_last_partner_is_found_whatever_is_typed_of_it() {
    let site = many_clients().await;
    for token in ["all", "two"] {
        // The beginning of its name, its whole name in other letters, the beginning of its id, its whole id.
        for query in [
            "q=Velvet",
            "q=velvet+h",
            "q=VELVET+HARBOUR",
            "q=target",
            "q=target-77",
            "q=target-7&by=id",
            "q=velvet&by=name",
        ] {
            let page = page(&site, token, &format!("/clients?{query}")).await;
            assert!(page.contains(WANTED), "{token} {query}: {page}");
            assert!(!page.contains("No client matches"), "{token} {query}: {page}");
        }
        // A part from the middle of its name.
        let examined = match token {
            "all" => "None among the first 5,000 clients",
            _ => "None among the first clients of your partners",
        };
        for query in ["q=harbour", "q=harbour&by=name", "q=vet+har"] {
            let first = page(&site, token, &format!("/clients?{query}")).await;
            assert!(first.contains(examined), "{token} {query}: {first}");
            assert!(!first.contains("No client matches"), "{token} {query}: {first}");
            assert!(!first.contains(WANTED), "{token} {query}: {first}");
            let second = page(&site, token, &next(&first)).await;
            assert!(second.contains(WANTED), "{token} {query}: {second}");
            assert!(second.contains("First page"), "{token} {query}: {second}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_says_that_nobody_matches_only_at_the_end() {
    let site = many_clients().await;
    let nobody = page(&site, "all", "/clients?q=nobody&by=id").await;
    assert!(nobody.contains("No client matches"), "{nobody}");
    let first = page(&site, "all", "/clients?q=nobody&by=name").await;
    assert!(
        first.contains("None among the first 5,000 clients") && !first.contains("No client matches"),
        "{first}"
    );
    let last = page(&site, "all", &next(&first)).await;
    assert!(last.contains("No other client matches"), "{last}");
    // Clients of other partners stay hidden.
    for query in ["q=velvet", "q=target-77", "q=harbour"] {
        let mut found = page(&site, "mid", &format!("/clients?{query}")).await;
        assert!(!found.contains(WANTED), "{query}: {found}");
        while found.contains("None among") {
            found = page(&site, "mid", &next(&found)).await;
            assert!(!found.contains(WANTED), "{query}: {found}");
        }
        assert!(found.contains("client matches"), "{query}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_the_beginning_of_ids_or_names_has_each_client_once() {
    let site = many_clients().await;
    // The ids c0490 to c0499 of two partners.
    let mut path = "/clients?q=c049&by=id".to_owned();
    let found = page(&site, "all", &path).await;
    for number in 490..500 {
        for partner in ["big", "mid"] {
            let link = format!("href=\"/clients/{partner}/c{number:04}\"");
            assert_eq!(found.matches(&link).count(), 1, "{link}: {found}");
        }
    }
    assert!(found.contains("20 clients"), "{found}");
    // Page after page.
    path = "/clients?q=c00&by=id".into();
    let mut links = 0;
    loop {
        let found = page(&site, "all", &path).await;
        links += found.matches("href=\"/clients/big/c00").count()
            + found.matches("href=\"/clients/mid/c00").count();
        if !found.contains("rel=\"next\"") {
            break;
        }
        path = next(&found);
    }
    assert_eq!(links, 200);
    let shops = page(&site, "all", "/clients?q=shop").await;
    assert!(shops.contains("By name") && shops.contains(">All</a>"), "{shops}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_begin_with_a_part_come_before_a_full_page_of_others() {
    let site = Site::start(noon(), &[TOKENS]).await;
    for number in 0..60 {
        let joanna = json!({"name": format!("Joanna {number}")});
        site.event_of("a", &format!("c{number}"), "client.added", noon(), joanna)
            .await;
        let ann = json!({"name": format!("Ann {number}")});
        site.event_of("z", &format!("z{number}"), "client.added", noon(), ann)
            .await;
    }
    let first = page(&site, "all", "/clients?q=ann&by=name").await;
    let (beginning, others) = first
        .split_once("Names that begin with “ann”")
        .and_then(|(_, rest)| rest.split_once("</section>"))
        .expect("a card");
    assert_eq!(beginning.matches("href=\"/clients/z/").count(), 50, "{beginning}");
    assert!(beginning.contains("the first 50 clients"), "{beginning}");
    assert_eq!(others.matches("href=\"/clients/a/").count(), 50, "{others}");
    // The link leads to all of them, page after page.
    let all = page(&site, "all", "/clients?q=ann&by=name-begins").await;
    assert!(beginning.contains("by=name-begins"), "{beginning}");
    let rest = page(&site, "all", &next(&all)).await;
    for (shown, count) in [(all, 50), (rest, 10)] {
        assert_eq!(shown.matches("href=\"/clients/z/").count(), count, "{shown}");
        assert!(!shown.contains("href=\"/clients/a/"), "{shown}");
    }
}
