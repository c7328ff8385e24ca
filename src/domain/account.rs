//! Facts about a client's account, whether or not it is linked: its jobs, its update, who created it, and whether its
//! partner handed it over (002).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::event::Creator;
use super::id::Id;
use super::policy::Policy;
use super::refusal::Refusal;
use super::text_enum::text_enum;

/// Facts about the account itself. A deleted client forgets them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The highest total of jobs that was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_total: Option<u64>,
    /// When that total first reached the threshold in force at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mature_at: Option<DateTime<Utc>>,
    /// When the account got the new access rules. It gets them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// When the partner last entered the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_accessed_at: Option<DateTime<Utc>>,
    /// Who created the account. It is created once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Creator>,
    /// Its id in the account app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// The account that the partner created has an owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_owner: bool,
}

text_enum! {
    /// Whether the partner has handed over the account that it created (002).
    #[derive(Default)]
    pub enum Handover {
        /// The partner did not create the account.
        #[default]
        None = "none",
        /// The account has no owner yet.
        Pending = "pending",
        Done = "done",
    }
}

impl Account {
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    #[must_use]
    pub fn handover(&self) -> Handover {
        match (self.created_by, self.has_owner) {
            (Some(Creator::Partner), false) => Handover::Pending,
            (Some(Creator::Partner), true) => Handover::Done,
            _ => Handover::None,
        }
    }

    /// The highest total counts: an app may send an older count late.
    pub(super) fn count_jobs(&mut self, total: u64, at: DateTime<Utc>, policy: &Policy) {
        let highest = self.jobs_total.map_or(total, |known| known.max(total));
        self.jobs_total = Some(highest);
        if self.mature_at.is_none() && highest >= policy.mature_after_jobs {
            self.mature_at = Some(at);
        }
    }

    pub(super) fn update(&mut self, at: DateTime<Utc>) {
        self.updated_at.get_or_insert(at);
    }

    /// An account is created once: the first event counts. A later one can add the id, because two apps may report the same
    /// account.
    pub(super) fn create(&mut self, by: Creator, id: Option<&Id>) {
        self.created_by.get_or_insert(by);
        if self.id.is_none() {
            self.id = id.cloned();
        }
    }
}

impl Client {
    /// 002: the partner adds an account owner "so that they can pass the account over once it has been set up".
    pub(super) fn set_account_owner(&mut self) -> Result<(), Refusal> {
        if self.account.handover() != Handover::Pending {
            return Err(Refusal::NoHandover);
        }
        self.account.has_owner = true;
        Ok(())
    }
}
