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
        postgres: r#"update clients set doc = replace(doc::text, '"a-1"', '"a-2"')::json where client = 'bakery'"#,
        sqlite: r#"update clients set doc = replace(doc, '"a-1"', '"a-2"') where client = 'bakery'"#,
        says: r#"assignments is stored as {"a-2":null}, the history says {"a-1":null}"#,
        // The journal never reported a-2.
        published: &[],
    },
    Damage {
        client: "acme/bakery",
        postgres: r#"update clients set doc = replace(doc::text, '"Bakery"', '"Cakery"')::json where client = 'bakery'"#,
        sqlite: r#"update clients set doc = replace(doc, '"Bakery"', '"Cakery"') where client = 'bakery'"#,
        says: r#"name is stored as "Cakery", the history says "Bakery""#,
        published: &["client.renamed"],
    },
    Damage {
        client: "acme/mill",
        postgres: r#"update clients set doc = replace(doc::text, '"expired"', '"disabled"')::json where client = 'mill'"#,
        sqlite: r#"update clients set doc = replace(doc, '"expired"', '"disabled"') where client = 'mill'"#,
        says: "link is stored as",
        published: &[],
    },
    // A moment far ahead, which no timer explains.
    Damage {
        client: "acme/mill",
        postgres: r#"update clients set doc = regexp_replace(doc::text, '"fired":"20[^"]*"', '"fired":"2099-01-01T00:00:00Z"')::json where client = 'mill'"#,
        sqlite: "update clients set doc = json_set(doc, '$.client.fired', '2099-01-01T00:00:00Z') where client = 'mill'",
        says: r#"fired is stored as "2099-01-01T00:00:00Z""#,
        published: &[],
    },
    damage(
        "acme/bakery",
        "update clients set doc = '{}' where client = 'bakery'",
        "the document cannot be read: missing field `client`",
        &[],
    ),
    damage(
        "acme/nobody",
        "update clients set doc = '{}' where client = 'nobody'",
        "the document cannot be read",
        &[],
    ),
    Damage {
        client: "acme/bakery",
        postgres: r#"update clients set doc = regexp_replace(doc::text, '"touches_closed_until":"[^"]*"', '"touches_closed_until":null')::json where client = 'bakery'"#,
        sqlite: "update clients set doc = json_remove(doc, '$.touches_closed_until') where client = 'bakery'",
        says: "touches are in closed runs up to",
        published: &[],
    },
    damage(
        "acme/bakery",
        "delete from clients where client = 'bakery'",
        "its row is missing, the log has",
        &[],
    ),
    damage(
        "acme/mill",
        "update clients set link = 'lost', access = 'none' where client = 'mill'",
        "the column link is `lost`, the document says `active`; the column access is `none`",
        &[],
    ),
    damage(
        "acme/mill",
        "update clients set as_of = null where client = 'mill'",
        "the column as_of is empty",
        &[],
    ),
    damage(
        "acme/bakery",
        "update clients set name_key = null where client = 'bakery'",
        "the column name_key is empty, the document says `bakery`",
        &[],
    ),
    damage(
        "acme/bakery",
        "delete from deadlines where client = 'bakery'",
        "the deadline of access-expiry is none, the document says",
        &[],
    ),
    Damage {
        client: "acme/bakery",
        postgres: "update deadlines set due_at = due_at + interval '90 days' where client = 'bakery'",
        sqlite: "update deadlines set due_at = due_at + 90 * 86400000000 where client = 'bakery'",
        says: "but a timer is due at",
        published: &[],
    },
    damage(
        "acme/bakery",
        "update events set outcome = 'refused', reason = 'not_active' where id = 'bakery-5'",
        "the outcome of event /s bakery-5 is stored as refused (not_active), the history says applied",
        &[],
    ),
    damage(
        "acme/bakery",
        "update events set outcome = 'applied', reason = null where id = 'refused'",
        "the outcome of event /s refused is stored as applied, the history says refused (",
        // The refusal was published when it happened.
        &[],
    ),
    damage(
        "acme/bakery",
        "delete from journal where client = 'bakery' and change in ('link.active', 'assignment.added', 'billing.started')",
        "the journal is missing link.active, assignment.added a-1, billing.started",
        &["link.active", "assignment.added", "billing.started"],
    ),
    damage(
        "acme/mill",
        "delete from journal where client = 'mill' and change = 'access.expired'",
        "the journal is missing access.expired",
        &["access.expired"],
    ),
];
