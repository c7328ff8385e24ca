//! Parameters in the path and the query: each is checked, and a bad one is named.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::Query;
use axum::extract::rejection::{PathRejection, QueryRejection};
use chrono::{DateTime, Utc};

use super::ApiError;
use crate::domain::id::{check_id, clip};
use crate::domain::{ClientKey, Event};

pub(super) type RawPath<T> = Result<axum::extract::Path<T>, PathRejection>;
pub(super) type RawQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The client of the path.
pub(super) fn client_key(path: RawPath<(String, String)>) -> Result<ClientKey, ApiError> {
    let (partner, client) = path.map_err(|error| bad_path(&error))?.0;
    id("partner", &partner)?;
    id("client", &client)?;
    ClientKey::new(&partner, &client).map_err(|reason| ApiError::parameter("client", reason))
}

/// The partner of the path.
pub(super) fn partner(path: RawPath<String>) -> Result<String, ApiError> {
    let partner = path.map_err(|error| bad_path(&error))?.0;
    id("partner", &partner)?;
    Ok(partner)
}

fn id(name: &str, id: &str) -> Result<(), ApiError> {
    check_id(name, id).map_err(|reason| ApiError::parameter(name, reason))
}

fn bad_path(error: &PathRejection) -> ApiError {
    ApiError::parameter("path", error.body_text())
}

/// The query's parameters. Each is taken out once; what is left at the end is unknown.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn of(query: RawQuery) -> Result<Self, ApiError> {
        query
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::parameter("query", error.body_text()))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(place) = self.0.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.remove(place);
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(ApiError::parameter(name, "it is given twice"));
        }
        if value.is_empty() {
            return Err(ApiError::parameter(name, "it is empty; leave it out"));
        }
        Ok(Some(value))
    }

    /// One of some names.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        choices: impl IntoIterator<Item = (&'static str, T)>,
    ) -> Result<Option<T>, ApiError> {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        let mut allowed = Vec::new();
        for (choice, value) in choices {
            if choice == given {
                return Ok(Some(value));
            }
            allowed.push(choice);
        }
        let reason = format!("`{}` is none of {}", clip(&given), allowed.join(", "));
        Err(ApiError::parameter(name, reason))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number<N>(&mut self, name: &str, least: N, most: N) -> Result<Option<N>, ApiError>
    where
        N: FromStr + PartialOrd + Display + Copy,
    {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        match given.parse::<N>() {
            Ok(number) if number >= least && number <= most => Ok(Some(number)),
            _ => Err(ApiError::parameter(
                name,
                format!("`{}` is no whole number from {least} to {most}", clip(&given)),
            )),
        }
    }

    /// A moment, RFC 3339, cut to what is kept.
    pub(super) fn moment(&mut self, name: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        // In a query a plus sign means a space, and hardly anyone writes %2B in an offset.
        DateTime::parse_from_rfc3339(&given.replace(' ', "+"))
            .map(|moment| Some(Event::cut(moment.to_utc())))
            .map_err(|_| {
                ApiError::parameter(
                    name,
                    format!(
                        "`{}` is no RFC 3339 time such as 2026-03-01T12:00:00Z",
                        clip(&given)
                    ),
                )
            })
    }

    /// # Errors
    /// When something was given that nobody asked for: a misspelt filter must not look like none.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.first() {
            Some((name, _)) => Err(ApiError::parameter(name, "it is not known here")),
            None => Ok(()),
        }
    }
}
