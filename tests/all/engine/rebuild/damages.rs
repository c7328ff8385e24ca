//! The damages: what SQL does to the stored state, what a verification reports, and what a rebuild publishes.

/// Damage done by SQL.
pub struct Damage {
    pub client: &'static str,
    pub postgres: &'static str,
    pub sqlite: &'static str,
    /// The difference that a verification reports.
    pub says: &'static str,
    /// The corrections that subscribers receive.
    pub published: &'static [&'static str],
}

/// A statement on the rows of one client.
macro_rules! of {
    ($statement:literal, $client:literal) => {
        concat!(
            $statement,
            " where client = (select number from client_keys where client = '",
            $client,
            "')"
        )
    };
}
pub(super) use of;

/// The number of a word.
macro_rules! word {
    ($word:literal) => {
        concat!("(select number from words where word = '", $word, "')")
    };
}
pub(super) use word;

const fn damage(
    client: &'static str,
    sql: &'static str,
    says: &'static str,
    published: &'static [&'static str],
) -> Damage {
    Damage {
        client,
        postgres: sql,
        sqlite: sql,
        says,
        published,
    }
}

pub const DAMAGES: &[Damage] = &[
    Damage {
        client: "acme/bakery",
        postgres: of!(
            r#"update clients set doc = replace(doc::text, '"a-1"', '"a-2"')::json"#,
            "bakery"
        ),
        sqlite: of!(
            r#"update clients set doc = replace(doc, '"a-1"', '"a-2"')"#,
            "bakery"
        ),
        says: r#"assignments is stored as {"a-2":null}, the history says {"a-1":null}"#,
        // The journal never reported a-2.
        published: &[],
    },
    Damage {
        client: "acme/bakery",
        postgres: of!(
            r#"update clients set doc = replace(doc::text, '"Bakery"', '"Cakery"')::json"#,
            "bakery"
        ),
        sqlite: of!(
            r#"update clients set doc = replace(doc, '"Bakery"', '"Cakery"')"#,
            "bakery"
        ),
        says: r#"name is stored as "Cakery", the history says "Bakery""#,
        // The journal never reported that name.
        published: &[],
    },
    Damage {
        client: "acme/mill",
        postgres: of!(
            r#"update clients set doc = replace(doc::text, '"expired"', '"disabled"')::json"#,
            "mill"
        ),
        sqlite: of!(
            r#"update clients set doc = replace(doc, '"expired"', '"disabled"')"#,
            "mill"
        ),
        says: "link is stored as",
        published: &[],
    },
    // A moment far ahead, which no timer explains.
    Damage {
        client: "acme/mill",
        postgres: of!(
            r#"update clients set doc = regexp_replace(doc::text, '"fired":"20[^"]*"', '"fired":"2099-01-01T00:00:00Z"')::json"#,
            "mill"
        ),
        sqlite: of!(
            "update clients set doc = json_set(doc, '$.client.fired', '2099-01-01T00:00:00Z')",
            "mill"
        ),
        says: r#"fired is stored as "2099-01-01T00:00:00Z""#,
        published: &[],
    },
    damage(
        "acme/bakery",
        of!("update clients set doc = '{}'", "bakery"),
        "the document cannot be read: missing field `client`",
        &[],
    ),
    damage(
        "acme/nobody",
        of!("update clients set doc = '{}'", "nobody"),
        "the document cannot be read",
        &[],
    ),
    Damage {
        client: "acme/bakery",
        postgres: of!(
            r#"update clients set doc = regexp_replace(doc::text, '"touches_closed_until":"[^"]*"', '"touches_closed_until":null')::json"#,
            "bakery"
        ),
        sqlite: of!(
            "update clients set doc = json_remove(doc, '$.touches_closed_until')",
            "bakery"
        ),
        says: "touches are in closed runs up to",
        published: &[],
    },
    damage(
        "acme/bakery",
        of!("delete from clients", "bakery"),
        "its row is missing, the log has",
        &[],
    ),
    damage(
        "acme/mill",
        of!("update clients set link = 'lost', access = 'none'", "mill"),
        "the column link is `lost`, the document says `active`; the column access is `none`",
        &[],
    ),
    damage(
        "acme/mill",
        of!("update clients set as_of = null", "mill"),
        "the column as_of is empty",
        &[],
    ),
    damage(
        "acme/bakery",
        of!("update clients set name_key = null", "bakery"),
        "the column name_key is empty, the document says `bakery`",
        &[],
    ),
    damage(
        "acme/bakery",
        of!("update clients set account = 'acc-9'", "bakery"),
        "the column account is `acc-9`, the document says empty",
        &[],
    ),
    damage(
        "acme/bakery",
        of!("delete from deadlines", "bakery"),
        "the deadline of access-expiry is none, the document says",
        &[],
    ),
    Damage {
        client: "acme/bakery",
        postgres: of!(
            "update deadlines set due_at = due_at + interval '90 days'",
            "bakery"
        ),
        sqlite: of!(
            "update deadlines set due_at = due_at + 90 * 86400000000",
            "bakery"
        ),
        says: "but a timer is due at",
        published: &[],
    },
    Damage {
        client: "acme/bakery",
        postgres: concat!(
            "update events set reason = ",
            word!("not_active"),
            " where ref = event_ref('/s', 'bakery-5')"
        ),
        sqlite: concat!(
            "update events set reason = ",
            word!("not_active"),
            " where id = 'bakery-5'"
        ),
        says: "the outcome of event /s bakery-5 is stored as refused (not_active), the history says applied",
        published: &[],
    },
    Damage {
        client: "acme/bakery",
        postgres: "update events set reason = 0 where ref = event_ref('/s', 'refused')",
        sqlite: "update events set reason = 0 where id = 'refused'",
        says: "the outcome of event /s refused is stored as applied, the history says refused (",
        // The refusal was published when it happened.
        published: &[],
    },
    damage(
        "acme/bakery",
        concat!(
            of!("delete from journal", "bakery"),
            " and change in (select number from words where word in ('link.active', 'assignment.added', 'billing.started'))"
        ),
        "the journal is missing link.active, assignment.added a-1, billing.started",
        &["link.active", "assignment.added", "billing.started"],
    ),
    damage(
        "acme/bakery",
        concat!(
            of!("delete from journal", "bakery"),
            " and change in (select number from words where word = 'client.named')"
        ),
        "the journal is missing client.named",
        &["client.named"],
    ),
    damage(
        "acme/bakery",
        concat!(
            of!("update journal set after = ':Cakery'", "bakery"),
            " and change in (select number from words where word = 'client.named')"
        ),
        "the journal is missing client.renamed",
        &["client.renamed"],
    ),
    damage(
        "acme/mill",
        concat!(
            of!("delete from journal", "mill"),
            " and change = ",
            word!("access.expired")
        ),
        "the journal is missing access.expired",
        &["access.expired"],
    ),
    Damage {
        client: "acme/bakery",
        postgres: of!(
            r#"update checkpoints set state = replace(state::text, '"a-1"', '"a-2"')::json"#,
            "bakery"
        ),
        sqlite: of!(
            r#"update checkpoints set state = replace(state, '"a-1"', '"a-2"')"#,
            "bakery"
        ),
        says: r#"Z assignments is stored as {"a-2":null}, the history says {"a-1":null}"#,
        published: &[],
    },
    damage(
        "acme/bakery",
        of!("update checkpoints set state = '{}'", "bakery"),
        "Z cannot be read",
        &[],
    ),
    Damage {
        client: "acme/bakery",
        postgres: of!(
            r#"update clients set doc = regexp_replace(doc::text, '"checkpointed_until":"[^"]*"', '"checkpointed_until":null')::json"#,
            "bakery"
        ),
        sqlite: of!(
            "update clients set doc = json_remove(doc, '$.checkpointed_until')",
            "bakery"
        ),
        says: "the document says none",
        published: &[],
    },
    // A checkpoint at this moment would lack a later event of the same moment. A rebuild removes them.
    Damage {
        client: "acme/bakery",
        postgres: of!(
            "update checkpoints set time = time + interval '1000 days'",
            "bakery"
        ),
        sqlite: of!(
            "update checkpoints set time = time + 1000 * 86400000000",
            "bakery"
        ),
        says: "but no later event",
        published: &[],
    },
];
