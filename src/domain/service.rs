//! The service that a client gets, and what is set up for it in the dashboard (001).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::event::EventKind;
use super::holdings::{insert, remove};
use super::id::Id;
use super::refusal::Refusal;
use super::text_enum::text_enum;

/// Where the service stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// New, and never assigned anything; once left, never entered again (001).
    #[default]
    PendingAssigning,
    Active,
    /// The dashboard's "delete": the history is kept (001).
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
    pub(super) fn apply_to_service(&mut self, kind: &EventKind, at: DateTime<Utc>) -> Result<(), Refusal> {
        match kind {
            EventKind::AssignmentAdded {
                assignment_id,
                service,
            } => self.assign(assignment_id, service.as_deref()),
            EventKind::AssignmentRemoved { assignment_id } => self
                .assignments
                .remove(assignment_id)
                .map(drop)
                .ok_or(Refusal::UnknownId),
            EventKind::ReportScheduleCreated { schedule_id } => {
                self.create(|client| &mut client.report_schedules, schedule_id)
            }
            EventKind::ReportScheduleDeleted { schedule_id } => {
                remove(&mut self.report_schedules, schedule_id)
            }
            EventKind::MarginRuleCreated { rule_id } => {
                self.create(|client| &mut client.margin_rules, rule_id)
            }
            EventKind::MarginRuleDeleted { rule_id } => remove(&mut self.margin_rules, rule_id),
            EventKind::ClientTerminated { .. } => {
                if matches!(self.service, Service::Terminated { .. }) {
                    return Err(Refusal::AlreadyTerminated);
                }
                self.service = Service::Terminated { at };
                Ok(())
            }
            EventKind::ClientReactivated {} => {
                if !matches!(self.service, Service::Terminated { .. }) {
                    return Err(Refusal::NotTerminated);
                }
                self.service = Service::Active;
                Ok(())
            }
            other => unreachable!("{} is no event of the service", other.type_name()),
        }
    }

    /// 001: the first assignment makes a pending client active by itself.
    fn assign(&mut self, id: &Id, service: Option<&str>) -> Result<(), Refusal> {
        if matches!(self.service, Service::Terminated { .. }) {
            return Err(Refusal::Terminated);
        }
        if self.assignments.contains_key(id) {
            return Err(Refusal::DuplicateId);
        }
        self.assignments.insert(id.clone(), service.map(str::to_owned));
        self.service = Service::Active;
        Ok(())
    }

    /// 001: reports are scheduled for active clients.
    fn create(
        &mut self,
        holding: impl FnOnce(&mut Self) -> &mut BTreeSet<Id>,
        id: &Id,
    ) -> Result<(), Refusal> {
        if self.service != Service::Active {
            return Err(Refusal::NotActive);
        }
        insert(holding(self), id)
    }

    /// 001: terminated clients lose their report schedules, margin rules and assignments.
    pub(super) fn clean_up(&mut self) {
        self.report_schedules.clear();
        self.margin_rules.clear();
        self.assignments.clear();
    }

    /// Whether a clean-up would find anything.
    pub(super) fn is_clean(&self) -> bool {
        self.report_schedules.is_empty() && self.margin_rules.is_empty() && self.assignments.is_empty()
    }
}
