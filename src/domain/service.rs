//! The service facet, and the dashboard holdings that depend on it (001).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::id::Id;
use super::refusal::Refusal;
use super::text_enum::text_enum;

/// The state of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// New, and nothing assigned yet. A client never returns to it (001).
    #[default]
    PendingAssigning,
    Active,
    /// The dashboard's "delete": the history stays (001).
    Terminated {
        at: DateTime<Utc>,
    },
}

text_enum! {
    /// The status of a service.
    pub enum ServiceStatus {
        PendingAssigning = "pending_assigning",
        Active = "active",
        Terminated = "terminated",
    }
}

impl Service {
    #[must_use]
    pub fn status(self) -> ServiceStatus {
        match self {
            Self::PendingAssigning => ServiceStatus::PendingAssigning,
            Self::Active => ServiceStatus::Active,
            Self::Terminated { .. } => ServiceStatus::Terminated,
        }
    }
}

impl Client {
    /// 001: the first assignment makes a pending client active.
    pub(super) fn add_assignment(&mut self, id: &Id, service: Option<&str>) -> Result<(), Refusal> {
        if matches!(self.service, Service::Terminated { .. }) {
            return Err(Refusal::Terminated);
        }
        self.assignments.add(id, service.map(str::to_owned))?;
        self.former_assignments.clear();
        self.service = Service::Active;
        Ok(())
    }

    pub(super) fn remove_assignment(&mut self, id: &Id) -> Result<(), Refusal> {
        self.assignments.remove(id)
    }

    pub(super) fn create_report_schedule(&mut self, id: &Id) -> Result<(), Refusal> {
        self.must_be_active()?;
        self.report_schedules.add(id, ())
    }

    pub(super) fn create_margin_rule(&mut self, id: &Id) -> Result<(), Refusal> {
        self.must_be_active()?;
        self.margin_rules.add(id, ())
    }

    pub(super) fn delete_report_schedule(&mut self, id: &Id) -> Result<(), Refusal> {
        self.report_schedules.remove(id)
    }

    pub(super) fn delete_margin_rule(&mut self, id: &Id) -> Result<(), Refusal> {
        self.margin_rules.remove(id)
    }

    /// 001: reports are scheduled for active clients.
    fn must_be_active(&self) -> Result<(), Refusal> {
        if self.service == Service::Active {
            Ok(())
        } else {
            Err(Refusal::NotActive)
        }
    }

    pub(super) fn terminate(&mut self, at: DateTime<Utc>) -> Result<(), Refusal> {
        if matches!(self.service, Service::Terminated { .. }) {
            return Err(Refusal::AlreadyTerminated);
        }
        self.service = Service::Terminated { at };
        Ok(())
    }

    pub(super) fn reactivate(&mut self) -> Result<(), Refusal> {
        if !matches!(self.service, Service::Terminated { .. }) {
            return Err(Refusal::NotTerminated);
        }
        self.service = Service::Active;
        Ok(())
    }

    /// 001: terminated clients lose their report schedules, margin rules and assignments. The assignments are remembered: a
    /// client that is reactivated retrieves nothing "until the client is mapped back".
    pub(super) fn clean_up(&mut self) {
        self.report_schedules.clear();
        self.margin_rules.clear();
        if !self.assignments.is_empty() {
            self.former_assignments.clear();
            for id in self.assignments.keys() {
                // It is not there.
                let _ = self.former_assignments.add(id, ());
            }
            self.assignments.clear();
        }
    }

    /// Whether a clean-up would remove nothing.
    pub(super) fn is_clean(&self) -> bool {
        self.report_schedules.is_empty() && self.margin_rules.is_empty() && self.assignments.is_empty()
    }
}
