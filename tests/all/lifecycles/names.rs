//! Names (001): a partner's clients have different names, and the first claim to arrive wins.

use serde_json::json;
use tenure::domain::event::NameVerdict;
use tenure::domain::fold::apply_deciding_name;
use tenure::domain::{Client, Name, Refusal};

use super::*;

pub fn stories() -> Vec<Story> {
    vec![
        story("ours", "a name is trimmed")
            .when(ev(
                "client.added",
                t(0),
                &json!({ "name": " \u{a0}The Bakery\n" }),
            ))
            .shows(json!({ "name": "The Bakery" })),
        story("001", "a client cannot be added with the name of another client")
            .when(name_taken(on("client.added name=Bakery", t(0))))
            .refused("name_taken")
            .shows(json!({ "link": null, "service": null, "name": null, "tab": null }))
            .changes(&[]),
        story("001", "a client cannot be renamed to the name of another client")
            .given(draft())
            .when(name_taken(on("client.renamed name=Mill", t(0))))
            .refused("name_taken")
            .shows(json!({ "name": "Bakery" })),
        story("001", "a terminated client can be renamed")
            .given(draft().and("client.terminated", t(0)))
            .when(on("client.renamed name=Mill", t(1)))
            .shows(json!({ "name": "Mill", "service": "terminated" })),
    ]
}

#[test]
fn names_are_compared_trimmed_and_case_folded() {
    let name_key = |name: &str| Name::try_from(name.to_owned()).expect("a name").key();
    let same = [
        ("Bakery", " bakery "),
        ("Müller GmbH", "MÜLLER GMBH"),
        ("Straße", "STRASSE"),
        ("Straße", "STRAẞE"),
        ("ΟΔΟΣ", "οδος"),
        ("Café", "Cafe\u{301}"),
        ("Café", "Caf\u{200b}é\u{feff}"),
        ("Blue Bird", "Blue\u{a0}Bird"),
        ("ﬁrma", "FIRMA"),
        ("İstanbul", "i\u{307}stanbul"),
    ];
    for (one, other) in same {
        assert_eq!(
            name_key(one),
            name_key(other),
            "`{one}` and `{other}` are the same name"
        );
    }
    assert_ne!(name_key("Bakery"), name_key("Bakery 2"));
    for bad in [
        "",
        "  ",
        "\u{a0}\t",
        "\u{200b}\u{2060}",
        "\u{feff}",
        &"x".repeat(201),
    ] {
        assert!(
            kind_of("client.added", &json!({ "name": bad })).is_err(),
            "{bad:?}"
        );
    }
    let long = format!("  {}  ", "é".repeat(200));
    assert!(kind_of("client.renamed", &json!({ "name": long })).is_ok());
}

/// Applies an event while other clients of the partner have these names.
fn claim(client: &mut Client, event: &mut Event, others: &[&str]) -> Result<(), Refusal> {
    let others: Vec<String> = others
        .iter()
        .map(|name| Name::try_from((*name).to_owned()).expect("a name").key())
        .collect();
    apply_deciding_name(client, event, &Policies::default(), |event| {
        let claimed = event.kind.claimed_name().expect("it claims one");
        others.contains(&claimed.key())
    })
}

#[test]
fn a_name_belongs_to_the_first_claim() {
    let mut client = Client::default();
    let mut refused = ev("client.added", t(0), &json!({ "name": "BAKERY " }));
    assert_eq!(
        claim(&mut client, &mut refused, &["Bakery"]),
        Err(Refusal::NameTaken)
    );
    assert_eq!(
        (refused.name_verdict, client.exists()),
        (NameVerdict::Taken, false)
    );
    assert_eq!(client.seen, Some(refused.position()), "a refused event was seen");

    let mut granted = on("client.added name=Mill", t(1));
    assert_eq!(claim(&mut client, &mut granted, &["Bakery"]), Ok(()));
    assert_eq!(granted.name_verdict, NameVerdict::Granted);
    let mut renamed = on("client.renamed name=bakery", t(2));
    assert_eq!(
        claim(&mut client, &mut renamed, &["Bakery"]),
        Err(Refusal::NameTaken)
    );
    assert_eq!(client.name.as_ref().map(Name::as_str), Some("Mill"));
}

#[test]
fn a_verdict_about_a_name_is_final() {
    let mut taken = name_taken(on("client.added name=Bakery", t(0)));
    assert_eq!(
        claim(&mut Client::default(), &mut taken, &[]),
        Err(Refusal::NameTaken)
    );
    let mut granted = Event {
        name_verdict: NameVerdict::Granted,
        ..on("client.added name=Bakery", t(0))
    };
    assert_eq!(claim(&mut Client::default(), &mut granted, &["Bakery"]), Ok(()));
}

#[test]
fn a_refused_event_gets_no_verdict_about_its_name() {
    let mut ghost = on("client.renamed name=Bakery", t(0));
    assert_eq!(
        claim(&mut Client::default(), &mut ghost, &["Bakery"]),
        Err(Refusal::UnknownClient)
    );
    assert_eq!(ghost.name_verdict, NameVerdict::Open, "it may be evaluated again");
    let mut client = fold_of(&draft());
    let mut again = on("client.added name=Mill", t(0));
    assert_eq!(
        claim(&mut client, &mut again, &["Mill"]),
        Err(Refusal::AlreadyExists)
    );
    assert_eq!(again.name_verdict, NameVerdict::Open);
}

fn fold_of(events: &[Event]) -> Client {
    tenure::domain::fold(events, t(0), &Policies::default())
}

#[test]
fn names_follow_the_table() {
    check(&stories());
}
