//! Access decisions: whether the partner may enter the account, or perform an action in it, and how long the answer holds.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Oracle;
use super::client_state::ClientState;
use super::view::time;

const NEVER: [&str; 5] = [
    "account_owner_settings",
    "activity_history",
    "subscription_change",
    "account_cancel",
    "accept_partner_invitation",
];

impl Oracle {
    /// The decision for a client at a moment, as JSON, while no source is silent.
    pub fn decision(&self, client: &str, moment: DateTime<Utc>, action: Option<&str>) -> Value {
        let (state, _) = self.state_at(client, moment, &BTreeSet::new(), &self.names_taken);
        let mut decision = self.says(&state, moment, action);
        decision["holds_until"] = json!(time(self.holds_until(state, moment, action)));
        decision["decided_at"] = json!(time(Some(moment)));
        decision["assured"] = json!(true);
        decision["silent_source"] = Value::Null;
        decision
    }

    fn says(&self, state: &ClientState, moment: DateTime<Utc>, action: Option<&str>) -> Value {
        let has_access = state.access == "enabled";
        let mut forbidden: Vec<&str> = if has_access { NEVER.to_vec() } else { Vec::new() };
        if has_access && state.handover() != "pending" {
            forbidden.push("account_owner_add");
        }
        let is_forbidden = action.is_some_and(|action| forbidden.contains(&action));
        let reason = match state.link {
            None | Some("deleted") => "unknown_client".to_owned(),
            _ if is_forbidden => "action_forbidden".to_owned(),
            _ => format!("access_{}", state.access),
        };
        json!({
            "allowed": has_access && !is_forbidden,
            "reason": reason,
            "role": has_access.then_some("business_owner"),
            "forbidden": forbidden,
            "expires_at": time(state.expires_at(self.eras.at(moment))),
        })
    }

    /// Lives on without events, from timer to timer and from policy to policy, until the decision is another.
    fn holds_until(
        &self,
        mut state: ClientState,
        moment: DateTime<Utc>,
        action: Option<&str>,
    ) -> Option<DateTime<Utc>> {
        let before = self.says(&state, moment, action);
        let mut now = moment;
        loop {
            let timer = state.next(None, now, &self.eras).map(|(at, _)| at);
            let mut starts = self.eras.all().iter().map(|era| era.start);
            let policy = starts.find(|start| *start > now);
            let next = timer.into_iter().chain(policy).min()?;
            self.advance(&mut state, now, next);
            now = next;
            if self.says(&state, now, action) != before {
                return Some(now);
            }
        }
    }
}
