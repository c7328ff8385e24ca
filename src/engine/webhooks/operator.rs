//! What operators do with endpoints of webhooks. No entry of the audit log has a secret.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{DeliveryStart, EndpointError, MOST_ENDPOINTS, NewEndpoint, changing, described, to_status};
use crate::domain::time::rfc3339;
use crate::engine::Operator;
use crate::engine::operator::PAUSE_ENDPOINT;
use crate::store::{
    EndpointChange, EndpointOrigin, EndpointStatus, FeedCursor, OperatorAction, SigningSecret,
};

impl Operator<'_> {
    /// Adds an endpoint.
    ///
    /// # Errors
    /// [`EndpointError::Exists`], [`EndpointError::TooMany`], or the store cannot be reached.
    pub async fn add_endpoint(&self, new: NewEndpoint) -> Result<(), EndpointError> {
        let engine = self.engine;
        if engine.store.endpoints().await?.len() >= MOST_ENDPOINTS {
            return Err(EndpointError::TooMany);
        }
        let secrets = vec![SigningSecret {
            secret: new.secret,
            until: None,
        }];
        let cursor = engine.place(new.start).await?;
        let target = (new.url.as_url().to_string(), new.filter);
        let entry = self.entry(
            "webhook.add",
            Some(new.name.clone()),
            described(&target.0, &target.1),
        );
        let endpoint = engine.new_endpoint(&new.name, EndpointOrigin::Command, target, secrets, cursor);
        let action = OperatorAction::AddEndpoint(Box::new(endpoint));
        if self.act(action, &entry).await? {
            Ok(())
        } else {
            Err(EndpointError::Exists(new.name))
        }
    }

    /// Pauses an endpoint. Retention no longer waits for it.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`], or the store cannot be reached.
    pub async fn pause_endpoint(&self, name: &str) -> Result<(), EndpointError> {
        let change = to_status(EndpointStatus::Paused, "");
        self.change_endpoint(PAUSE_ENDPOINT, name, change, Value::Null)
            .await
    }

    /// Resumes a paused or disabled endpoint where it was.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`], or the store cannot be reached.
    pub async fn resume_endpoint(&self, name: &str) -> Result<(), EndpointError> {
        let change = to_status(EndpointStatus::Active, "");
        self.change_endpoint("webhook.resume", name, change, Value::Null)
            .await
    }

    /// Sends an endpoint the changes from here on, also those that it has received. It stays paused or disabled if it is.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`], or the store cannot be reached.
    pub async fn replay_endpoint(
        &self,
        name: &str,
        start: DeliveryStart,
    ) -> Result<FeedCursor, EndpointError> {
        let cursor = self.engine.place(start).await?;
        let change = EndpointChange {
            cursor: Some(cursor),
            ..EndpointChange::default()
        };
        let details = json!({ "after": cursor.to_string() });
        self.change_endpoint("webhook.replay", name, change, details)
            .await?;
        Ok(cursor)
    }

    /// Signs with a new secret from now on, and also with the present ones until this moment.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`], [`EndpointError::OfSettings`], or the store cannot be reached.
    pub async fn rotate_endpoint(
        &self,
        name: &str,
        secret: String,
        until: DateTime<Utc>,
    ) -> Result<(), EndpointError> {
        let endpoint = self.engine.endpoint(name).await?;
        if endpoint.origin == EndpointOrigin::Settings {
            return Err(EndpointError::OfSettings(name.to_owned()));
        }
        let now = self.engine.now();
        let old = endpoint.secrets.into_iter().map(|old| SigningSecret {
            until: Some(old.until.unwrap_or(until).min(until)),
            ..old
        });
        let old = old.filter(|old| old.until.is_none_or(|until| until > now));
        let secrets = [SigningSecret { secret, until: None }];
        let change = EndpointChange {
            secrets: Some(secrets.into_iter().chain(old).collect()),
            ..EndpointChange::default()
        };
        let details = json!({ "old_secret_until": rfc3339(until) });
        self.change_endpoint("webhook.rotate", name, change, details)
            .await
    }

    /// Removes an endpoint with its cursor.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`], or the store cannot be reached.
    pub async fn remove_endpoint(&self, name: &str) -> Result<(), EndpointError> {
        let entry = self.entry("webhook.remove", Some(name.to_owned()), Value::Null);
        let action = OperatorAction::RemoveEndpoint(name.to_owned());
        expect(self.act(action, &entry).await?, name)
    }

    async fn change_endpoint(
        &self,
        action: &str,
        name: &str,
        change: EndpointChange,
        details: Value,
    ) -> Result<(), EndpointError> {
        let entry = self.entry(action, Some(name.to_owned()), details);
        expect(self.act(changing(name, None, change), &entry).await?, name)
    }
}

fn expect(is_known: bool, name: &str) -> Result<(), EndpointError> {
    if is_known {
        Ok(())
    } else {
        Err(EndpointError::Unknown(name.to_owned()))
    }
}
