//! Why a client's answers are as they are, as of now or of another moment.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Engine;
use super::blocking::run_blocking;
use super::read::present;
use crate::domain::why::{Answer, Explanation, explain};
use crate::domain::{Client, ClientKey, Event, Policies, fold};
use crate::store::StoreError;

/// The most subscriptions that are explained at once. The others are explained one by one.
pub const MOST_SUBSCRIPTIONS: usize = 100;

/// Explanations of one answer about a client, or of all.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    pub answers: Vec<Explanation>,
    /// The number of subscriptions that are not among the answers because there are too many.
    pub omitted: usize,
}

impl Engine {
    /// Explains an answer about a client at a moment, by default all of them, now. Due timers count, whether or not a sweep has
    /// fired them. None: nothing was ever stored about the client.
    ///
    /// Reads the whole history of the client.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn why(
        &self,
        key: &ClientKey,
        answer: Option<Answer>,
        at: Option<DateTime<Utc>>,
    ) -> Result<Option<Why>, StoreError> {
        let Some(stored) = self.store.client(key).await? else {
            return Ok(None);
        };
        let policies = self.policies().await?;
        let at = at.unwrap_or_else(|| present(&stored.client(&policies), self.now()));
        drop(stored);
        let history = self.events(key).await?;
        let key = key.clone();
        let explaining = move || explain_some(&key, &history, answer, &policies, at);
        Ok(Some(run_blocking(explaining).await))
    }
}

/// Explains one answer, or all.
fn explain_some(
    key: &ClientKey,
    history: &[Event],
    answer: Option<Answer>,
    policies: &Policies,
    at: DateTime<Utc>,
) -> Why {
    let (answers, omitted) = match answer {
        Some(answer) => (vec![answer], 0),
        None => all_answers(&fold(history, at, policies)),
    };
    let explain = |answer: &Answer| explain(key, history, answer, policies, at);
    Why {
        answers: answers.iter().map(explain).collect(),
        omitted,
    }
}

/// The answers about a client, and the number of subscriptions beyond [`MOST_SUBSCRIPTIONS`].
fn all_answers(client: &Client) -> (Vec<Answer>, usize) {
    let subscriptions = client.subscriptions.keys().take(MOST_SUBSCRIPTIONS);
    let answers = Answer::OF_EVERY_CLIENT
        .into_iter()
        .chain(subscriptions.cloned().map(Answer::Subscription));
    let omitted = client.subscriptions.len().saturating_sub(MOST_SUBSCRIPTIONS);
    (answers.collect(), omitted)
}
