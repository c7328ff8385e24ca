//! Where requests do not go: redirects, and addresses that are not allowed.

use std::net::ToSocketAddrs as _;

use super::receiver::{Answer, Receiver};
use super::{Given, add_users, on_both_stores};
use crate::support::tenure::Tenure;

on_both_stores!(a_redirect_is_not_followed);

fn a_redirect_is_not_followed(given: &Given) {
    let elsewhere = Receiver::new();
    let location = elsewhere.url();
    let receiver = Receiver::answering(move |_, before| Answer {
        location: Some(location.clone()),
        ..Answer::status(if before < 2 { 307 } else { 204 })
    });
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 1, 0);
    running.wait_until("the redirect is reported", || {
        let outcome = given.endpoint("crm")["last_outcome"].to_string();
        outcome.contains("redirects are not followed") || outcome.contains("204")
    });
    running.wait_until("delivered", || !receiver.accepted().is_empty());
    assert_eq!(elsewhere.received().len(), 0);
    assert!(receiver.received().iter().filter(|one| one.status == 307).count() >= 2);
}

/// The outcome of a ping to an endpoint, as `tenure webhook test` prints it.
fn ping(tenure: &Tenure, name: &str) -> String {
    let output = tenure.call(&["webhook", "test", name]);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn an_address_that_is_not_public_is_refused() {
    let given = Given::sqlite("");
    let (tenure, allowing) = (
        given.tenure(),
        given.with(&[("TENURE_WEBHOOKS__ALLOW_NETWORKS", "0.0.0.0/0,::/0")]),
    );
    tenure.ok(&["migrate"]);
    let explains = |text: &str| {
        text.contains("is not an address of the public internet") && text.contains("webhooks.allow_networks")
    };
    for (name, host) in [
        ("private", "10.0.0.1"),
        ("metadata", "169.254.169.254"),
        ("ipv6", "[fd00::1]"),
        ("mapped", "[::ffff:10.0.0.1]"),
        ("decimal", "167772161"),
    ] {
        let url = format!("https://{host}/");
        let added = tenure.call(&["webhook", "add", name, &url]);
        let error = String::from_utf8(added.stderr).expect("text");
        assert!(
            added.status.code() == Some(2) && explains(&error),
            "{host}: {error}"
        );
        assert_eq!(given.endpoint(name), serde_json::Value::Null);

        // No longer allowed when it is sent.
        allowing.json(&["webhook", "add", name, &url]);
        let outcome = ping(&tenure, name);
        assert!(explains(&outcome), "{host}: {outcome}");
    }
}

/// A name of this machine that is not `localhost`, and its addresses. The file /etc/hosts has one.
fn name_of_this_machine() -> Option<(String, Vec<String>)> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let names = [
        host.trim(),
        "ip6-localhost",
        "localhost.localdomain",
        "ip6-loopback",
    ];
    names.into_iter().find_map(|name| {
        let addresses: Vec<String> = (name, 0)
            .to_socket_addrs()
            .ok()?
            .map(|one| one.ip().to_string())
            .collect();
        (!name.is_empty() && !addresses.is_empty()).then(|| (name.to_owned(), addresses))
    })
}

#[test]
fn a_name_that_resolves_to_such_an_address_is_refused() {
    let Some((name, addresses)) = name_of_this_machine() else {
        crate::support::packages::skip("this machine has no name but localhost in /etc/hosts");
        return;
    };
    let given = Given::sqlite("");
    let receiver = Receiver::new();
    let url = format!("https://{name}:{}/", receiver.port);
    given.add("named", &url, &[]);
    let refused = ping(&given.tenure(), "named");
    assert!(
        refused.contains("is not an address of the public internet"),
        "{name}: {refused}"
    );
    assert!(
        addresses.iter().any(|address| refused.contains(address)),
        "{addresses:?}: {refused}"
    );

    // It is the check that refuses: with these addresses allowed, the connection is tried.
    let allowed = given.with(&[("TENURE_WEBHOOKS__ALLOW_NETWORKS", &addresses.join(","))]);
    let tried = ping(&allowed, "named");
    assert!(!tried.contains("public internet"), "{tried}");
}

#[test]
fn only_https_is_allowed_beyond_this_machine() {
    let given = Given::sqlite("");
    for (url, words) in [
        ("http://crm.example.com/", "http is only allowed to localhost"),
        (
            "https://user:secret@crm.example.com/",
            "a password in the URL is not allowed",
        ),
        ("ftp://crm.example.com/", "expected a URL such as"),
    ] {
        let output = given.tenure().call(&["webhook", "add", "crm", url]);
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(
            output.status.code() == Some(2) && error.contains(words),
            "{error}"
        );
    }
}
