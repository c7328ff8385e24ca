//! The values that the page of a client derives, compared with those of the API at every stage of a client's life.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::html::{card, descriptions, minute, page, text};
use super::site::{Site, noon};

/// The values that are yes or no, with their names in the API. The connection decides about a status credit, so these two are equal.
const FLAGS: [(&str, &str); 7] = [
    ("Connected", "connected"),
    ("Billable", "billable"),
    ("Commission", "commission"),
    ("Status credit", "status_credit"),
    ("Visible", "visible"),
    ("Retrieving", "retrieving"),
    ("Client list", "on_client_list"),
];

/// Everything that can happen to a client, an hour apart. Returns the moments between the events.
async fn live(site: &Site) -> Vec<DateTime<Utc>> {
    let account = json!({"by": "customer", "account_id": "account-of-the-bakery"});
    let invited = json!({"steps": ["accepted", "onboarded", "consented"], "commission_eligible": false});
    let events = [
        ("client.added", json!({"name": "Bakery"})),
        ("client.invited", invited),
        ("consent.granted", json!({})),
        ("onboarding.completed", json!({})),
        ("invitation.accepted", json!({})),
        ("commission.eligibility_changed", json!({"eligible": true})),
        ("assignment.added", json!({"assignment_id": "campaign-7"})),
        ("account.created", account),
        ("account.jobs_counted", json!({"total": 1_234})),
        ("account.accessed", json!({"by": "partner"})),
        ("assignment.removed", json!({"assignment_id": "campaign-7"})),
        ("access.disabled", json!({})),
        ("access.requested", json!({})),
        ("client.archived", json!({})),
        ("client.terminated", json!({})),
        ("client.deleted", json!({})),
    ];
    let mut at = noon() - TimeDelta::hours(20);
    let mut moments = Vec::new();
    for (kind, data) in events {
        site.event("bakery", kind, at, data).await;
        moments.push(at + TimeDelta::minutes(30));
        at += TimeDelta::hours(1);
    }
    moments
}

/// The values that the page shows, without how far away a moment is.
fn shown(page: &str) -> Vec<(String, String)> {
    let described = descriptions(card(page, "State"));
    let value = |description: &str| {
        let (_, value) = description.split_once("<div>").expect("a value");
        let value = value.split("</div>").next().expect("its end");
        let value = match value.split_once(" <span class=\"muted whole\">") {
            None => value.to_owned(),
            Some((moment, rest)) => {
                let (_, after) = rest.split_once("</span>").expect("its end");
                format!("{moment}{after}")
            }
        };
        text(&value)
    };
    described
        .into_iter()
        .map(|(name, description)| (name, value(description)))
        .collect()
}

/// A moment of the API as the page shows it. None: the API has none.
fn moment(value: &Value) -> Option<String> {
    let at = value.as_str()?.parse().expect("a moment");
    Some(minute(at))
}

/// The values that the page must show.
fn expected(client: &Value) -> Vec<(String, String)> {
    let word = |field: &str| client[field].as_str().map(|word| word.replace('_', " "));
    let invitation = &client["invitation"];
    let missing = invitation["missing"].as_array().map(|steps| {
        let steps: Vec<&str> = steps.iter().filter_map(Value::as_str).collect();
        steps.join(", ")
    });
    let flags = FLAGS.iter().map(|(name, field)| {
        let is_so = client[field].as_bool().expect("true or false");
        (*name, Some(if is_so { "yes" } else { "no" }.to_owned()))
    });
    let until = moment(&client["holds_until"]);
    let until = until.map_or("the next event".into(), |until| {
        format!("{until}, or the next event")
    });
    let jobs = client["jobs_total"].as_u64().map(|jobs| {
        assert_eq!(jobs, 1_234);
        "1\u{202f}234".to_owned()
    });
    let values = [
        ("Link", Some(word("link").unwrap_or("–".into()))),
        ("Service", Some(word("service").unwrap_or("–".into()))),
        ("Access", word("access")),
        ("Expires", moment(&client["expires_at"])),
        ("Requested", moment(&client["access_request"])),
        ("Last entered", moment(&client["last_accessed_at"])),
    ]
    .into_iter()
    .chain(flags)
    .chain([
        ("Tab", Some(word("tab").unwrap_or("none".into()))),
        ("View as client", word("view_as_client")),
        ("Invited", moment(&invitation["sent_at"])),
        ("Missing steps", missing),
        ("Account", client["account_id"].as_str().map(str::to_owned)),
        ("Jobs", jobs),
        ("Unchanged until", Some(until)),
        ("Last change", moment(&client["as_of"])),
    ]);
    values
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

#[tokio::test]
async fn every_value_of_a_client_is_that_of_the_api_at_any_moment() {
    let site = Site::start(noon(), &[]).await;
    let mut moments = live(&site).await;
    // To come.
    moments.push(noon() + TimeDelta::days(60));
    let mut names = std::collections::BTreeSet::new();
    let mut flags: Vec<Vec<bool>> = vec![Vec::new(); FLAGS.len()];
    for at in moments {
        let query = format!("?at={}", at.format("%Y-%m-%dT%H:%M:%SZ"));
        let client = site
            .api(&format!("/v1/partners/acme/clients/bakery{query}"))
            .await;
        let shown = shown(&page(&site, &format!("/clients/acme/bakery{query}")).await);
        assert_eq!(shown, expected(&client), "{at}");
        names.extend(shown.into_iter().map(|(name, _)| name));
        for ((_, field), seen) in FLAGS.iter().zip(&mut flags) {
            seen.push(client[field] == true);
        }
    }
    assert_eq!(names.len(), 21, "each is shown at some moment: {names:?}");
    // A page that mistakes one of them for another shows a wrong value at some moment.
    for (place, (name, _)) in FLAGS.iter().enumerate() {
        assert!(flags[place].contains(&true), "{name}");
        for (other, (of_other, _)) in FLAGS.iter().enumerate().skip(place + 1) {
            let are_one = (*name, *of_other) == ("Connected", "Status credit");
            assert_eq!(flags[place] == flags[other], are_one, "{name}, {of_other}");
        }
    }
}
