//! Path and query parameters, validated one by one.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::Query;
use axum::extract::rejection::{PathRejection, QueryRejection};
use chrono::{DateTime, Utc};

use super::ApiError;
use crate::domain::id::{check_id, clip};
use crate::domain::month::MonthError;
use crate::domain::{ClientKey, Event, Month};

pub(crate) type RawPath<T> = Result<axum::extract::Path<T>, PathRejection>;
pub(super) type RawQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The client in the path.
pub(crate) fn client_key(path: RawPath<(String, String)>) -> Result<ClientKey, ApiError> {
    let (partner, client) = partner_and(path)?;
    id("client", &client)?;
    ClientKey::new(&partner, &client).map_err(|reason| ApiError::parameter("client", reason))
}

/// The partner in the path, and the text of the parameter after it.
pub(super) fn partner_and(path: RawPath<(String, String)>) -> Result<(String, String), ApiError> {
    let (partner, text) = in_path(path)?;
    id("partner", &partner)?;
    Ok((partner, text))
}

/// The number in the path.
pub(crate) fn number_in_path(name: &'static str, path: RawPath<String>) -> Result<i64, ApiError> {
    let given = in_path(path)?;
    match given.parse::<i64>() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(invalid(name, &given, "a whole number")),
    }
}

/// The month in the path.
pub(crate) fn month(path: RawPath<String>) -> Result<Month, ApiError> {
    let given = in_path(path)?;
    given
        .parse()
        .map_err(|error: MonthError| ApiError::parameter("month", error))
}

/// The partner in the path.
pub(crate) fn partner(path: RawPath<String>) -> Result<String, ApiError> {
    let partner = in_path(path)?;
    id("partner", &partner)?;
    Ok(partner)
}

fn id(name: &'static str, id: &str) -> Result<(), ApiError> {
    check_id(name, id).map_err(|reason| ApiError::parameter(name, reason))
}

/// The parameters in the path.
pub(crate) fn in_path<T>(path: RawPath<T>) -> Result<T, ApiError> {
    Ok(path
        .map_err(|error| ApiError::parameter("path", error.body_text()))?
        .0)
}

/// The query parameters. Reading one removes it, so that those left at the end are unknown.
pub(crate) struct Params {
    given: Vec<(String, String)>,
    /// Names that the endpoint has read.
    known: Vec<&'static str>,
}

impl Params {
    pub(super) fn of(query: RawQuery) -> Result<Self, ApiError> {
        query
            .map(|Query(given)| Self {
                given,
                known: Vec::new(),
            })
            .map_err(|error| ApiError::parameter("query", error.body_text()))
    }

    /// The parameters of a form, each as often as it was sent.
    pub(crate) fn of_fields(given: Vec<(String, String)>) -> Self {
        Self {
            given,
            known: Vec::new(),
        }
    }

    /// Whether the caller gave this parameter.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| given == name)
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        self.known.push(name);
        let Some(place) = self.given.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.given.remove(place);
        if self.given.iter().any(|(given, _)| given == name) {
            return Err(ApiError::parameter(name, "it occurs twice; send it once"));
        }
        if value.is_empty() {
            return Err(ApiError::parameter(name, "it is empty; set a value or omit it"));
        }
        Ok(Some(value))
    }

    /// The parameter `partner`.
    pub(crate) fn partner(&mut self) -> Result<Option<String>, ApiError> {
        let partner = self.text("partner")?;
        if let Some(partner) = &partner {
            id("partner", partner)?;
        }
        Ok(partner)
    }

    /// The values of a parameter that may occur several times.
    pub(crate) fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (values, others) = std::mem::take(&mut self.given)
            .into_iter()
            .partition::<Vec<_>, _>(|(given, _)| given == name);
        self.given = others;
        values.into_iter().map(|(_, value)| value).collect()
    }

    /// One of several names.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: impl IntoIterator<Item = (&'static str, T)>,
    ) -> Result<Option<T>, ApiError> {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        let mut expected = Vec::new();
        for (choice, value) in choices {
            if choice == given {
                return Ok(Some(value));
            }
            expected.push(choice);
        }
        Err(invalid(name, &given, &format!("one of {}", expected.join(", "))))
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number<N>(&mut self, name: &'static str, least: N, most: N) -> Result<Option<N>, ApiError>
    where
        N: FromStr + PartialOrd + Display + Copy,
    {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        match given.parse::<N>() {
            Ok(number) if number >= least && number <= most => Ok(Some(number)),
            _ => Err(invalid(
                name,
                &given,
                &format!("a whole number from {least} to {most}"),
            )),
        }
    }

    /// A client, as its events name it in `subject`.
    pub(crate) fn client(&mut self, name: &'static str) -> Result<Option<ClientKey>, ApiError> {
        let given = self.text(name)?;
        given.map(|subject| client_of(name, &subject)).transpose()
    }

    /// A moment in RFC 3339, truncated to the resolution of stored times.
    pub(crate) fn moment(&mut self, name: &'static str) -> Result<Option<DateTime<Utc>>, ApiError> {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        // In a query a plus sign means a space, and few people write %2B in an offset.
        DateTime::parse_from_rfc3339(&given.replace(' ', "+"))
            .map(|moment| Some(Event::truncate(moment.to_utc())))
            .map_err(|_| invalid(name, &given, "an RFC 3339 time such as 2026-03-01T12:00:00Z"))
    }

    /// # Errors
    /// A parameter is unknown: a misspelt filter must not go unnoticed.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.given.first() {
            Some((name, _)) => Err(ApiError::UnknownParameter {
                name: clip(name),
                known: self.known,
            }),
            None => Ok(()),
        }
    }
}

/// The longest reason, and the longest name of an operator, in characters.
const LONGEST_TEXT: usize = 2_000;

/// The parameter `reason`, for the audit log.
pub(super) fn reason(params: &mut Params) -> Result<Option<String>, ApiError> {
    limited_text(params, "reason")
}

/// A text of bounded length.
pub(super) fn limited_text(params: &mut Params, name: &'static str) -> Result<Option<String>, ApiError> {
    let text = params.text(name)?;
    if text
        .as_ref()
        .is_some_and(|text| text.chars().count() > LONGEST_TEXT)
    {
        let expected = format!("expected at most {LONGEST_TEXT} characters");
        return Err(ApiError::parameter(name, expected));
    }
    Ok(text.map(|text| text.replace('\0', "")))
}

/// The client that a parameter gives as its events name it in `subject`.
pub(crate) fn client_of(name: &'static str, subject: &str) -> Result<ClientKey, ApiError> {
    ClientKey::from_subject(subject).map_err(|reason| ApiError::parameter(name, reason))
}

fn invalid(name: &str, given: &str, expected: &str) -> ApiError {
    ApiError::parameter(
        name,
        format!("invalid value \"{}\": expected {expected}", clip(given)),
    )
}
