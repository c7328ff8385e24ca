//! Access decisions: whether a partner may enter an account, or perform an action in it, as of now or of another moment.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::read::present;
use super::{Engine, OnSilence};
use crate::domain::access::{AccessStatus, Decision};
use crate::domain::action::ActionError;
use crate::domain::{Action, Actions, Client, ClientKey, Id, Policies};
use crate::store::{StoreError, Stored};

/// The number of clients that are read at a time. Documents may be large.
const CHUNK: usize = 100;
/// The number of clients of a partner with the same account that count. Usually one has it.
const OF_ACCOUNT: u32 = 1_000;

/// One question about access.
#[derive(Clone, Debug)]
pub struct Question {
    pub resource: Resource,
    /// None: whether the partner may enter.
    pub action: Option<Action>,
    /// None: now.
    pub at: Option<DateTime<Utc>>,
}

/// What the partner wants to enter.
#[derive(Clone, Debug)]
pub enum Resource {
    Client(ClientKey),
    /// An account, by its id in the account app.
    Account {
        partner: String,
        account: Id,
    },
}

/// An access decision, and the client that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// None: no client of the partner has the account.
    pub client: Option<ClientKey>,
    pub decision: Decision,
}

impl Engine {
    /// Sets the actions that exist.
    #[must_use]
    pub fn with_actions(mut self, actions: Actions) -> Self {
        self.actions = actions;
        self
    }

    /// The action with this name.
    ///
    /// # Errors
    /// When it is no action, or resembles a forbidden one.
    pub fn action(&self, name: &str) -> Result<Action, ActionError> {
        self.actions.read(name)
    }

    /// Whether the partner may enter, or do `action`, at a moment, by default now. Due timers count, whether or not a sweep has
    /// fired them. See [`Decision::assured`] for a silent source.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn decide(
        &self,
        key: &ClientKey,
        action: Option<&Action>,
        at: Option<DateTime<Utc>>,
    ) -> Result<Decision, StoreError> {
        let policies = self.policies().await?;
        let stored = self.store.client(key).await?;
        let stored = stored.unwrap_or_else(|| Stored::absent(key.clone()));
        let decision = self.decide_for(&stored, action, at, &policies).await?;
        count(&decision);
        Ok(decision)
    }

    /// Answers several questions, in order.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn decide_all(&self, questions: &[Question]) -> Result<Vec<Answer>, StoreError> {
        let policies = self.policies().await?;
        let mut answers = Vec::with_capacity(questions.len());
        for questions in questions.chunks(CHUNK) {
            let mut stored = self.read_clients(questions).await?;
            for question in questions {
                let answer = match &question.resource {
                    Resource::Client(key) => {
                        let stored = stored
                            .entry(key.clone())
                            .or_insert_with(|| Stored::absent(key.clone()));
                        Answer {
                            client: Some(key.clone()),
                            decision: self
                                .decide_for(stored, question.action.as_ref(), question.at, &policies)
                                .await?,
                        }
                    }
                    Resource::Account { partner, account } => {
                        self.decide_for_account(partner, account, question, &policies)
                            .await?
                    }
                };
                count(&answer.decision);
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    async fn read_clients(&self, questions: &[Question]) -> Result<HashMap<ClientKey, Stored>, StoreError> {
        let mut keys: Vec<ClientKey> = questions
            .iter()
            .filter_map(|question| match &question.resource {
                Resource::Client(key) => Some(key.clone()),
                Resource::Account { .. } => None,
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let clients = self.store.clients_by_key(&keys).await?;
        Ok(clients
            .into_iter()
            .map(|stored| (stored.key.clone(), stored))
            .collect())
    }

    /// Usually one client of a partner has the account. Of several, the first that allows it decides.
    async fn decide_for_account(
        &self,
        partner: &str,
        account: &Id,
        question: &Question,
        policies: &Policies,
    ) -> Result<Answer, StoreError> {
        const PAGE: u32 = 100;
        let mut best: Option<Answer> = None;
        let mut holds_until = None;
        let mut after = None;
        for _ in 0..OF_ACCOUNT / PAGE {
            let page = self
                .store
                .clients_of_account(account, Some(partner), after.as_ref(), PAGE)
                .await?;
            let is_last = page.len() < PAGE as usize;
            after = page.last().map(|stored| stored.key.clone());
            for stored in page {
                let action = question.action.as_ref();
                let (client, decision) = self
                    .client_and_decision(&stored, action, question.at, policies)
                    .await?;
                // It had no account yet, or another one.
                if client.account.id.as_ref() != Some(account) {
                    continue;
                }
                holds_until = decision.holds_until.into_iter().chain(holds_until).min();
                if best
                    .as_ref()
                    .is_none_or(|best| !best.decision.allowed && decision.allowed)
                {
                    best = Some(Answer {
                        client: Some(stored.key),
                        decision,
                    });
                }
            }
            if is_last {
                break;
            }
        }
        let Some(mut answer) = best else {
            let moment = question.at.unwrap_or_else(|| self.now());
            let decision = Decision::unknown_account(moment);
            return Ok(Answer {
                client: None,
                decision: match self.silent_before(moment).await? {
                    Some(silent) => decision.unassured(silent.source),
                    None => decision,
                },
            });
        };
        answer.decision.holds_until = holds_until;
        Ok(answer)
    }

    async fn decide_for(
        &self,
        stored: &Stored,
        action: Option<&Action>,
        at: Option<DateTime<Utc>>,
        policies: &Policies,
    ) -> Result<Decision, StoreError> {
        Ok(self.client_and_decision(stored, action, at, policies).await?.1)
    }

    /// The client at the moment of a question, and the decision. While an expected source is silent, the decision is not assured,
    /// and the settings decide about access that has expired since.
    async fn client_and_decision(
        &self,
        stored: &Stored,
        action: Option<&Action>,
        at: Option<DateTime<Utc>>,
        policies: &Policies,
    ) -> Result<(Client, Decision), StoreError> {
        let client = stored.client(policies);
        let moment = at.unwrap_or_else(|| present(&client, self.now()));
        let silent = self.silent_before(moment).await?;
        let key = &stored.key;
        let at_moment = self.at_moment(key, client.clone(), moment, policies).await?;
        let mut decision = Decision::decide(&at_moment, action, moment, policies);
        let may_be_allowed =
            at_moment.access_status() == AccessStatus::Expired && self.on_silence == OnSilence::Allow;
        if let Some(silent) = silent {
            if may_be_allowed && moment <= self.watch.present() {
                let before = self.at_moment(key, client, silent.silent_since, policies).await?;
                if before.access_status() == AccessStatus::Enabled {
                    decision = Decision::despite_expiry(&at_moment, &before, action, moment, policies);
                }
            }
            decision = decision.unassured(silent.source);
        } else if may_be_allowed {
            // The settings allow it again once a source is silent.
            decision.holds_until = self.next_silence().await?.map(|next| next.max(moment));
        }
        Ok((at_moment, decision))
    }
}

fn count(decision: &Decision) {
    metrics::counter!("tenure_access_decisions_total", "reason" => decision.reason).increment(1);
}
