//! How a person takes each action of the console, and what it leads to.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tenure::domain::access::AccessStatus;
use tenure::domain::{ChangeKind, ClientKey, Sweep};
use tenure::engine::{FeedStart, SweepMode, SweepOptions};
use tenure::store::{DeadLetterFilter, DeadLetterStatus, EndpointStatus, HaltKind};

use super::browser::Browser;
use super::site::{Site, by};
use super::stage::pass;

/// How a person takes an action.
pub struct Walk {
    /// Where it begins.
    page: &'static str,
    steps: Vec<Step>,
    /// What the console says before.
    asked: Vec<&'static str>,
    /// The form, and its button.
    pub form: &'static str,
    pub button: &'static str,
    /// What the console says afterwards.
    pub said: &'static str,
    /// The action and its target, as the audit log has them.
    pub recorded: (&'static str, Option<String>),
}

enum Step {
    Click(&'static str),
    Press(&'static str),
    Fill(&'static str, String),
}

impl Walk {
    /// Goes to the page with the form of the action.
    pub async fn lead(&self, browser: &Browser, site: &Site) {
        browser.open(&site.url(self.page)).await;
        for step in &self.steps {
            match step {
                Step::Click(css) => browser.click(css).await,
                Step::Press(text) => browser.press_text(text).await,
                Step::Fill(css, text) => browser.fill(css, text).await,
            }
        }
        for text in &self.asked {
            browser.expect("main", text).await;
        }
    }
}

/// A walk that begins with a link to a question.
fn question(
    page: &'static str,
    link: &'static str,
    asked: &[&'static str],
    button: &'static str,
    said: &'static str,
    recorded: (&'static str, &str),
) -> Walk {
    Walk {
        page,
        steps: vec![Step::Click(link)],
        asked: asked.to_vec(),
        form: "form.confirm",
        button,
        said,
        recorded: (recorded.0, Some(recorded.1.to_owned())),
    }
}

/// Adds clients whose access is due to expire.
pub async fn due(site: &Site, clients: &[&str]) {
    let at = site.engine.now() - TimeDelta::days(60) + TimeDelta::seconds(30);
    for client in clients {
        site.event(client, "client.added", at, json!({"name": client}))
            .await;
        site.event(client, "client.invited", at, json!({"steps": ["accepted"]}))
            .await;
        site.event(client, "invitation.accepted", at, json!({})).await;
    }
    pass(site, TimeDelta::minutes(1));
}

/// Adds more clients whose access is due than the breaker lets a sweep change.
pub async fn tripped(site: &Site) {
    due(site, &MANY).await;
    let tick = SweepMode::Scheduled {
        tick: site.engine.now(),
    };
    let options = SweepOptions::new(tick);
    let swept = site.engine.sweep(Sweep::AccessExpiry, options, |_| {}).await;
    swept.expect("tripped");
}

const MANY: [&str; 7] = [
    "many-0", "many-1", "many-2", "many-3", "many-4", "many-5", "many-6",
];

/// Makes an action possible. None: nobody has written its walk yet.
pub async fn prepared(site: &Site, action: &str) -> Option<Walk> {
    let resource = action.split('/').nth(1)?;
    match resource {
        "sweeps" => of_sweep(site, action).await,
        "dead-letters" => of_dead_letter(site, action).await,
        "dead-letter-groups" => of_group(site, action).await,
        "webhooks" => of_webhook(site, action).await,
        _ => of_others(site, action).await,
    }
}

async fn of_sweep(site: &Site, action: &str) -> Option<Walk> {
    Some(match action {
        "/sweeps/{sweep}/run" => {
            due(site, &["alone"]).await;
            question(
                "/sweeps",
                "#access-expiry a[href$=run]",
                &["1 client", "acme/alone"],
                "Run",
                "changed 1 client",
                ("sweep.run", "access-expiry"),
            )
        }
        "/sweeps/{sweep}/confirm" => {
            tripped(site).await;
            question(
                "/sweeps",
                "#access-expiry a[href$=confirm]",
                &["7 clients", "acme/many-0", "acme/many-4", "and 2 more", "breaker"],
                "Confirm and run",
                "changed 7 clients",
                ("sweep.confirm", "access-expiry"),
            )
        }
        "/sweeps/{sweep}/pause" => question(
            "/sweeps",
            "#stalled-invitations a[href$=pause]",
            &["until somebody resumes it"],
            "Pause",
            "The sweep is paused",
            ("sweep.pause", "stalled-invitations"),
        ),
        "/sweeps/{sweep}/resume" => {
            let authority = by("it is to be resumed");
            let operator = site.engine.operator(&authority);
            operator.pause_sweep(Sweep::RequestLapse).await.expect("paused");
            question(
                "/sweeps",
                "#request-lapse a[href$=resume]",
                &["next scheduled time"],
                "Resume",
                "The sweep is resumed",
                ("sweep.resume", "request-lapse"),
            )
        }
        _ => return None,
    })
}

/// A message that adds a client.
fn adds(client: &str) -> Value {
    json!({
        "specversion": "1.0", "id": client, "source": "/space", "type": "client.added", "subject": format!("acme/{client}"),
        "time": "2026-03-01T11:00:00Z", "data": {"name": client},
    })
}

/// The first dead letter on the page of a group.
const FIRST_OF_GROUP: &str = "main:has(.head a[href='/dead-letters']) table.rows tbody th a";

/// Stores a message as a dead letter.
async fn dead(site: &Site, reason: &str, body: Value) {
    site.dead("amqp:tenure.dead", reason, body.to_string().as_bytes(), &[])
        .await;
}

async fn of_dead_letter(site: &Site, action: &str) -> Option<Walk> {
    let redriven = "1 dead letter redriven";
    let (reason, message, form, button, said, recorded) = match action {
        "/dead-letters/{id}/redrive" => (
            "to be redriven",
            adds("redriven"),
            "form[action$=redrive]",
            "Redrive",
            redriven,
            "dead_letter.redrive",
        ),
        "/dead-letters/{id}/edit" => (
            "to be edited",
            json!({"specversion": "1.0", "type": "client.adedd"}),
            "form[action$=edit]",
            "Redrive the edited message",
            redriven,
            "dead_letter.edit",
        ),
        "/dead-letters/{id}/discard" => (
            "to be discarded",
            json!("other nonsense"),
            "form[action$=redrive]",
            "Discard",
            "1 dead letter discarded",
            "dead_letter.discard",
        ),
        _ => return None,
    };
    dead(site, reason, message).await;
    let mut steps = vec![Step::Press(reason), Step::Click(FIRST_OF_GROUP)];
    if recorded == "dead_letter.edit" {
        steps.push(Step::Fill("textarea", adds("edited").to_string()));
    }
    Some(Walk {
        page: "/dead-letters",
        steps,
        // The page begins it as a sentence.
        asked: vec![&reason[1..]],
        form,
        button,
        said,
        recorded: (recorded, Some(open(site, reason).await[0].to_string())),
    })
}

async fn of_group(site: &Site, action: &str) -> Option<Walk> {
    let (reason, messages, link, asked, button, said, recorded) = match action {
        "/dead-letter-groups/redrive" => (
            "all are redriven",
            [adds("group-0"), adds("group-1")],
            "a[href*='groups/redrive']",
            "Redrive 2 dead letters of /space",
            "Redrive all",
            "2 dead letters redriven",
            "dead_letter.redrive",
        ),
        "/dead-letter-groups/discard" => (
            "all are discarded",
            [json!("nonsense"), json!("more nonsense")],
            "a[href*='groups/discard']",
            "Discard 2 dead letters with no source",
            "Discard all",
            "2 dead letters discarded",
            "dead_letter.discard",
        ),
        _ => return None,
    };
    for message in messages {
        dead(site, reason, message).await;
    }
    Some(Walk {
        page: "/dead-letters",
        steps: vec![Step::Press(reason), Step::Click(link)],
        asked: vec![asked, reason, "Dead letter"],
        form: "form.confirm",
        button,
        said,
        recorded: (recorded, None),
    })
}

async fn of_webhook(site: &Site, action: &str) -> Option<Walk> {
    Some(match action {
        "/webhooks/{name}/pause" => {
            site.endpoint("crm", FeedStart::Latest).await;
            question(
                "/webhooks",
                "#crm a[href$=pause]",
                &["until somebody resumes it"],
                "Pause",
                "The endpoint is paused",
                ("webhook.pause", "crm"),
            )
        }
        "/webhooks/{name}/resume" => {
            site.endpoint("warehouse", FeedStart::Latest).await;
            let authority = by("it is to be resumed");
            let operator = site.engine.operator(&authority);
            operator.pause_endpoint("warehouse").await.expect("paused");
            question(
                "/webhooks",
                "#warehouse a[href$=resume]",
                &["all changes after its cursor"],
                "Resume",
                "The endpoint is resumed",
                ("webhook.resume", "warehouse"),
            )
        }
        _ => return None,
    })
}

async fn of_others(site: &Site, action: &str) -> Option<Walk> {
    Some(match action {
        "/statements/{month}/close" => {
            let at = site.engine.now() - TimeDelta::days(10);
            site.event("old", "client.added", at, json!({"name": "Old"}))
                .await;
            question(
                "/statements/2026-02",
                "main .chips a[href$=close]",
                &["cannot be undone"],
                "Close the month",
                "The month is closed",
                ("statement.close", "2026-02"),
            )
        }
        // The name of a host may have any characters.
        "/workers/{name}/remove" => {
            site.worker("shop/floor-1").await;
            pass(site, TimeDelta::minutes(2));
            site.worker("tenure-1").await;
            // The overview reuses what it has read for two seconds.
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            question(
                "/",
                "#workers a[href$=remove]",
                &["If it comes back, it is listed again"],
                "Remove",
                "The worker is removed",
                ("worker.remove", "shop/floor-1"),
            )
        }
        "/policy/adopt" => Walk {
            page: "/what-if",
            steps: vec![
                Step::Fill("input[name='access.idle']", "45d".into()),
                Step::Press("Compare"),
                Step::Press("Apply the policy"),
            ],
            asked: vec!["access.idle=45d", "due at once"],
            form: "form.confirm",
            button: "Apply the policy",
            said: "The policy is recorded",
            recorded: ("policy.apply", None),
        },
        _ => return None,
    })
}

/// Whether the store has what the action leads to.
pub async fn is_done(site: &Site, action: &str) -> bool {
    let engine = &site.engine;
    let client = async |client: &str| {
        let key = ClientKey::new("acme", client).expect("a key");
        engine.client(&key, None).await.expect("a client")
    };
    let is_known = async |name: &str| client(name).await.is_some();
    // A client whose access is due looks expired before. The sweep records it.
    let is_swept = async |client: &str| {
        let key = ClientKey::new("acme", client).expect("a key");
        let lines = engine.store().journal(&key, 0, 100).await.expect("a journal");
        lines
            .iter()
            .any(|line| line.entry.change.kind() == ChangeKind::Access(AccessStatus::Expired))
    };
    let is_paused = async |sweep: Sweep| {
        let halts = engine.store().halts().await.expect("halts");
        halts
            .iter()
            .any(|halt| halt.sweep == sweep && halt.kind == HaltKind::Paused)
    };
    let endpoint = async |name: &str| {
        let endpoints = engine.endpoints().await.expect("endpoints");
        endpoints
            .into_iter()
            .find(|one| one.name == name)
            .expect("an endpoint")
            .status
    };
    match action {
        "/sweeps/{sweep}/run" => is_swept("alone").await,
        "/sweeps/{sweep}/confirm" => is_swept(MANY[0]).await && is_swept(MANY[6]).await,
        "/sweeps/{sweep}/pause" => is_paused(Sweep::StalledInvitations).await,
        "/sweeps/{sweep}/resume" => !is_paused(Sweep::RequestLapse).await,
        "/dead-letters/{id}/redrive" => is_known("redriven").await,
        "/dead-letters/{id}/edit" => is_known("edited").await,
        "/dead-letters/{id}/discard" => open(site, "to be discarded").await.is_empty(),
        "/dead-letter-groups/redrive" => is_known("group-0").await && is_known("group-1").await,
        "/dead-letter-groups/discard" => open(site, "all are discarded").await.is_empty(),
        "/statements/{month}/close" => !engine.closings().await.expect("closings").is_empty(),
        "/webhooks/{name}/pause" => endpoint("crm").await == EndpointStatus::Paused,
        "/webhooks/{name}/resume" => endpoint("warehouse").await == EndpointStatus::Active,
        "/workers/{name}/remove" => {
            let workers = engine.workers().await.expect("workers");
            workers.iter().all(|worker| worker.name != "shop/floor-1")
        }
        "/policy/adopt" => engine.latest_policy().await.expect("a policy").access_idle == TimeDelta::days(45),
        _ => unreachable!("{action} has no walk"),
    }
}

/// The open dead letters with this reason.
async fn open(site: &Site, reason: &str) -> Vec<i64> {
    let filter = DeadLetterFilter {
        status: Some(DeadLetterStatus::Open),
    };
    let letters = site.engine.store().dead_letters(&filter, 0, 100).await;
    let letters = letters.expect("dead letters").into_iter();
    letters
        .filter(|letter| letter.reason == reason)
        .map(|letter| letter.id)
        .collect()
}
