//! The state of one client, and the effect of each event: the tables of `docs/lifecycles.md`, row by row.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use tenure::domain::Policy;

use super::sent_event::SentEvent;

type Applied = Result<(), &'static str>;

#[derive(Clone, Debug, Default)]
pub struct ClientState {
    /// None if it was never added.
    pub link: Option<&'static str>,
    pub name: String,
    pub imported: bool,
    pub service: &'static str,
    pub access: &'static str,
    /// When the open request for access was opened.
    pub request: Option<DateTime<Utc>>,
    /// The last renewal of the access.
    pub renewed: Option<DateTime<Utc>>,
    /// The nearest warning that was published since then. No warning farther from expiry follows.
    pub warned: Option<TimeDelta>,
    pub invitation: Option<Invitation>,
    /// How many invitations were sent since the client was added.
    pub invitations_sent: u32,
    /// When the service became terminated, until it is cleaned up.
    pub to_clean_since: Option<DateTime<Utc>>,
    pub subscriptions: BTreeMap<String, Subscription>,
    pub assignments: BTreeSet<String>,
    /// What the last clean-up removed.
    pub former_assignments: BTreeSet<String>,
    pub report_schedules: BTreeSet<String>,
    pub margin_rules: BTreeSet<String>,
    pub users: BTreeSet<String>,
    pub integrations: BTreeSet<String>,
    pub jobs_total: Option<u64>,
    pub matured_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub last_accessed_at: Option<DateTime<Utc>>,
    pub account: Option<Account>,
}

/// An account that was created.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: Option<String>,
    pub by_customer: bool,
    pub has_owner: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
pub struct Invitation {
    pub at: DateTime<Utc>,
    pub steps: Vec<&'static str>,
    pub done: Vec<&'static str>,
    pub referral: bool,
    pub commission_eligible: bool,
    pub stalled: bool,
    pub onboarded_independently: bool,
    pub bounced: bool,
}

impl Invitation {
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = self.steps.clone();
        missing.retain(|step| !self.done.contains(step));
        missing
    }
}

/// In the order of the document.
const STEPS: [&str; 3] = ["accepted", "onboarded", "consented"];

#[derive(Clone, Debug)]
pub struct Subscription {
    pub status: &'static str,
    pub by_partner: bool,
    pub plan: Option<String>,
    pub paid_until: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// When the client became archived or lost, while the subscription is about to end for that.
    pub link_ended_at: Option<DateTime<Utc>>,
}

impl ClientState {
    /// Applies the next event. `name_taken`: it arrived too late for its name.
    pub fn apply(&mut self, event: &SentEvent, policy: &Policy, name_taken: bool) -> Applied {
        // The verdict stays with the event, wherever a late event moves it.
        ensure(!name_taken, "name_taken")?;
        let exists = !matches!(self.link, None | Some("deleted"));
        ensure(exists || event.kind == "client.added", "unknown_client")?;
        ensure(event.is_theirs(), "not_theirs")?;
        if event.kind == "client.added" {
            return self.be_added(event);
        }
        match event.kind {
            "client.renamed" => {
                self.name = event.holding("name").trim().into();
                Ok(())
            }
            "account.jobs_counted" | "account.updated" => {
                self.apply_to_account(event, policy);
                Ok(())
            }
            "account.created" | "account.owner_set" => self.apply_to_handover(event),
            kind if kind.starts_with("access.") || kind == "account.accessed" => self.apply_to_access(event),
            kind if kind.starts_with("subscription.") => self.apply_to_subscriptions(event),
            kind if kind.starts_with("user.") || kind.starts_with("integration.") => {
                self.apply_to_people(event)
            }
            "assignment.added"
            | "assignment.removed"
            | "report_schedule.created"
            | "report_schedule.deleted"
            | "margin_rule.created"
            | "margin_rule.deleted"
            | "client.terminated"
            | "client.reactivated" => self.apply_to_service(event),
            _ => self.apply_to_link(event),
        }
    }

    fn is_link(&self, statuses: &[&str]) -> bool {
        self.link.is_some_and(|link| statuses.contains(&link))
    }

    fn be_added(&mut self, event: &SentEvent) -> Applied {
        ensure(matches!(self.link, None | Some("deleted")), "already_exists")?;
        self.link = Some("draft");
        self.name = event.holding("name").trim().into();
        self.imported = event.flag("imported") == Some(true);
        self.service = "pending_assigning";
        self.access = "none";
        // Even the ids of subscriptions that ended before are free.
        self.subscriptions.clear();
        Ok(())
    }

    fn apply_to_link(&mut self, event: &SentEvent) -> Applied {
        match event.kind {
            "client.invited" => {
                ensure(!self.is_link(&["active"]), "already_linked")?;
                ensure(!self.is_link(&["invitation_rejected"]), "invitation_was_rejected")?;
                ensure(!self.is_link(&["access_rejected"]), "access_was_rejected")?;
                self.link = Some("invited");
                self.invitations_sent += 1;
                let asked = event.texts("steps");
                let is_asked =
                    |step: &&str| asked.as_ref().is_none_or(|asked| asked.iter().any(|a| a == step));
                self.invitation = Some(Invitation {
                    at: event.time,
                    steps: STEPS.into_iter().filter(is_asked).collect(),
                    done: Vec::new(),
                    referral: event.text("channel").as_deref() == Some("referral"),
                    commission_eligible: event.flag("commission_eligible").unwrap_or(true),
                    stalled: false,
                    onboarded_independently: false,
                    bounced: false,
                });
            }
            "invitation.accepted" => self.step_done("accepted", event)?,
            "onboarding.completed" if event.text("via").as_deref() == Some("independent") => {
                self.open_invitation()?.onboarded_independently = true;
            }
            "invitation.bounced" => self.open_invitation()?.bounced = true,
            "onboarding.completed" => self.step_done("onboarded", event)?,
            "consent.granted" => self.step_done("consented", event)?,
            "invitation.rejected" => {
                ensure(self.is_link(&["invited"]), "not_invited")?;
                let referral = self.invitation.as_ref().is_some_and(|sent| sent.referral);
                ensure(referral, "not_a_referral")?;
                self.link = Some("invitation_rejected");
            }
            "identity.rejected" => {
                ensure(self.is_link(&["invited"]), "not_invited")?;
                self.link = Some("access_rejected");
            }
            "identity.cleared" => {
                ensure(self.is_link(&["access_rejected"]), "not_rejected")?;
                self.link = Some("draft");
            }
            "commission.eligibility_changed" => {
                ensure(self.is_link(&["invited", "active"]), "not_linked")?;
                let invitation = self.invitation.as_mut().expect("was invited");
                invitation.commission_eligible = event.flag("eligible").expect("a flag");
            }
            "client.archived" => self.be_archived(event)?,
            "partner.disconnected" if event.text("by").as_deref() == Some("partner") => {
                self.be_archived(event)?;
            }
            "partner.disconnected" | "client.lost" => self.be_lost(event)?,
            "client.deleted" => self.be_deleted(event)?,
            other => panic!("unknown event type: {other}"),
        }
        Ok(())
    }

    fn open_invitation(&mut self) -> Result<&mut Invitation, &'static str> {
        ensure(self.is_link(&["invited"]), "not_invited")?;
        Ok(self.invitation.as_mut().expect("was invited"))
    }

    fn step_done(&mut self, step: &'static str, event: &SentEvent) -> Applied {
        let invitation = self.open_invitation()?;
        if invitation.missing().contains(&step) {
            invitation.done.push(step);
        }
        if invitation.missing().is_empty() {
            self.link = Some("active");
            self.enable_access(event.time);
            for subscription in self.subscriptions.values_mut() {
                subscription.link_ended_at = None;
                if subscription.status == "prepared" {
                    subscription.status = "active";
                }
            }
        }
        Ok(())
    }

    fn be_archived(&mut self, event: &SentEvent) -> Applied {
        ensure(self.is_link(&["active", "invited"]), "not_linked")?;
        self.leave("archived", event.time);
        Ok(())
    }

    fn be_lost(&mut self, event: &SentEvent) -> Applied {
        ensure(self.is_link(&["active"]), "not_linked")?;
        self.leave("lost", event.time);
        Ok(())
    }

    fn leave(&mut self, to: &'static str, time: DateTime<Utc>) {
        self.link = Some(to);
        self.access = "none";
        self.request = None;
        self.integrations.clear();
        for subscription in self.subscriptions.values_mut() {
            if subscription.by_partner && subscription.status != "ended" {
                subscription.link_ended_at.get_or_insert(time);
            }
        }
    }

    fn be_deleted(&mut self, event: &SentEvent) -> Applied {
        ensure(!self.is_link(&["active", "invited"]), "still_linked")?;
        self.link = Some("deleted");
        self.service = "terminated";
        self.clean_up();
        self.subscriptions
            .retain(|_, subscription| subscription.by_partner);
        for subscription in self.subscriptions.values_mut() {
            if subscription.status != "ended" {
                subscription.end(event.time);
            }
        }
        // All that is left of it is its name and its history.
        *self = Self {
            link: self.link,
            name: std::mem::take(&mut self.name),
            imported: self.imported,
            service: self.service,
            access: self.access,
            subscriptions: std::mem::take(&mut self.subscriptions),
            ..Self::default()
        };
        Ok(())
    }

    pub fn clean_up(&mut self) {
        self.to_clean_since = None;
        self.report_schedules.clear();
        self.margin_rules.clear();
        if !self.assignments.is_empty() {
            self.former_assignments = std::mem::take(&mut self.assignments);
        }
    }

    fn apply_to_service(&mut self, event: &SentEvent) -> Applied {
        match event.kind {
            "assignment.added" => {
                ensure(self.service != "terminated", "terminated")?;
                add(&mut self.assignments, event.holding("assignment_id"))?;
                self.service = "active";
                self.former_assignments.clear();
            }
            "assignment.removed" => remove(&mut self.assignments, &event.holding("assignment_id"))?,
            "report_schedule.created" => {
                ensure(self.service == "active", "not_active")?;
                add(&mut self.report_schedules, event.holding("schedule_id"))?;
            }
            "report_schedule.deleted" => remove(&mut self.report_schedules, &event.holding("schedule_id"))?,
            "margin_rule.created" => {
                ensure(self.service == "active", "not_active")?;
                add(&mut self.margin_rules, event.holding("rule_id"))?;
            }
            "margin_rule.deleted" => remove(&mut self.margin_rules, &event.holding("rule_id"))?,
            "client.terminated" => {
                ensure(self.service != "terminated", "already_terminated")?;
                self.service = "terminated";
                self.to_clean_since = Some(event.time);
            }
            "client.reactivated" => {
                ensure(self.service == "terminated", "not_terminated")?;
                self.service = "active";
                self.to_clean_since = None;
            }
            other => panic!("unknown event type: {other}"),
        }
        Ok(())
    }

    fn apply_to_subscriptions(&mut self, event: &SentEvent) -> Applied {
        let id = event.holding("subscription_id");
        if event.kind == "subscription.added" {
            let status = match self.link {
                Some("draft" | "invited") => "prepared",
                Some("active") => "active",
                _ => return Err("not_linked"),
            };
            ensure(!self.subscriptions.contains_key(&id), "duplicate_id")?;
            let added = Subscription {
                status,
                by_partner: event.text("managed_by").as_deref() != Some("client"),
                plan: event.text("plan"),
                paid_until: event.moment("paid_until"),
                ended_at: None,
                link_ended_at: None,
            };
            self.subscriptions.insert(id, added);
            return Ok(());
        }
        let subscription = self.subscriptions.get_mut(&id).ok_or("unknown_id")?;
        ensure(subscription.status != "ended", "already_ended")?;
        if event.kind == "subscription.renewed" {
            subscription.paid_until = event.moment("paid_until");
        } else {
            subscription.end(event.time);
        }
        Ok(())
    }

    fn apply_to_people(&mut self, event: &SentEvent) -> Applied {
        let (holdings, field) = match event.kind {
            "user.added" | "user.removed" => (&mut self.users, "user_id"),
            _ => (&mut self.integrations, "integration_id"),
        };
        let id = event.holding(field);
        if event.kind.ends_with(".removed") {
            return remove(holdings, &id);
        }
        ensure(!matches!(self.link, Some("archived" | "lost")), "not_linked")?;
        ensure(self.service != "terminated", "terminated")?;
        add(holdings, id)
    }

    fn apply_to_access(&mut self, event: &SentEvent) -> Applied {
        let connected = self.is_link(&["active"]);
        match event.kind {
            "account.accessed" if event.text("by").as_deref() == Some("staff") => {}
            "account.accessed" => {
                ensure(self.access == "enabled", "no_access")?;
                self.last_accessed_at = Some(event.time);
                self.enable_access(event.time);
            }
            "access.disabled" => {
                ensure(connected, "not_connected")?;
                ensure(self.access != "disabled", "already_disabled")?;
                self.access = "disabled";
                self.request = None;
            }
            "access.enabled" => {
                ensure(connected, "not_connected")?;
                ensure(self.access != "enabled", "already_enabled")?;
                self.enable_access(event.time);
            }
            "access.requested" => {
                ensure(connected, "not_connected")?;
                ensure(self.access != "enabled", "already_enabled")?;
                ensure(self.request.is_none(), "already_requested")?;
                self.request = Some(event.time);
            }
            "access.approved" => {
                ensure(self.request.is_some(), "no_request")?;
                self.enable_access(event.time);
            }
            "access.denied" => {
                ensure(self.request.is_some(), "no_request")?;
                self.request = None;
            }
            other => panic!("unknown event type: {other}"),
        }
        Ok(())
    }

    fn enable_access(&mut self, time: DateTime<Utc>) {
        self.access = "enabled";
        self.request = None;
        self.renewed = Some(time);
        self.warned = None;
    }

    /// Of several creations the first counts; the account's id is that of the first event with one.
    fn apply_to_handover(&mut self, event: &SentEvent) -> Applied {
        if event.kind == "account.created" {
            let account = self.account.get_or_insert_with(|| Account {
                id: None,
                by_customer: event.text("by").as_deref() == Some("customer"),
                has_owner: false,
            });
            account.id = account.id.take().or(event.text("account_id"));
            return Ok(());
        }
        ensure(self.handover() == "pending", "no_handover")?;
        self.account.as_mut().expect("was created").has_owner = true;
        Ok(())
    }

    pub fn handover(&self) -> &'static str {
        match &self.account {
            Some(account) if account.by_customer => "none",
            Some(account) if account.has_owner => "done",
            Some(_) => "pending",
            None => "none",
        }
    }

    fn apply_to_account(&mut self, event: &SentEvent, policy: &Policy) {
        if event.kind == "account.updated" {
            // An account gets the new access rules once.
            self.updated_at.get_or_insert(event.time);
            return;
        }
        let highest = self.jobs_total.unwrap_or(0).max(event.number("total"));
        self.jobs_total = Some(highest);
        if highest >= policy.mature_after_jobs {
            self.matured_at.get_or_insert(event.time);
        }
    }
}

impl Subscription {
    pub fn end(&mut self, time: DateTime<Utc>) {
        self.status = "ended";
        self.ended_at = Some(time);
        self.link_ended_at = None;
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Applied {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn add(holdings: &mut BTreeSet<String>, id: String) -> Applied {
    ensure(holdings.insert(id), "duplicate_id")
}

fn remove(holdings: &mut BTreeSet<String>, id: &str) -> Applied {
    ensure(holdings.remove(id), "unknown_id")
}
