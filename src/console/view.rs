//! What a handler of a page knows about its request.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use chrono::{DateTime, NaiveDateTime, Utc};
use maud::{Markup, html};

use super::Console;
use super::actions::said;
use super::error::PageError;
use super::layout::{self, Around, Frame, Offered};
use super::ui::{Limits, Pages, coded, note};
use crate::config::{Partners, Scope};
use crate::domain::Event;
use crate::engine::Engine;
use crate::http::{Api, ApiError, Params, Principal};
use crate::store::StoreError;

/// A request for a page.
pub struct View {
    pub api: Arc<Api>,
    pub console: Arc<Console>,
    pub principal: Principal,
    pub engine: Arc<Engine>,
    /// The parameters of the query. Forms send empty fields, which are left out.
    pub params: Params,
    /// The same as text, for links to this page with other parameters.
    pub given: Vec<(String, String)>,
    /// By the deciding clock.
    pub now: DateTime<Utc>,
    /// What an action has done before it led here, and to how many.
    did: Vec<(String, i64)>,
    path: String,
}

impl FromRequestParts<Arc<Api>> for View {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, PageError> {
        let console = parts.extensions.get::<Arc<Console>>().cloned();
        let console =
            console.ok_or_else(|| ApiError::Internal("the route of a page has no console".into()))?;
        let principal = Principal::from_request_parts(parts, api).await?;
        let mut given = given(&parts.uri)?;
        let mut did = Vec::new();
        while let Some(done) = take(&mut given, "did") {
            let count = take(&mut given, "n").and_then(|count| count.parse().ok());
            did.extend(count.map(|count| (done, count)));
        }
        let engine = api.engine()?;
        Ok(Self {
            now: engine.clock().present(),
            params: Params::of_fields(given.clone()),
            given,
            did,
            path: parts.uri.path().to_owned(),
            api: api.clone(),
            console,
            principal,
            engine,
        })
    }
}

fn given(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    let Query(mut given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| ApiError::parameter("query", error.body_text()))?;
    given.retain(|(_, value)| !value.trim().is_empty());
    Ok(given)
}

/// Removes a parameter.
fn take(given: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let place = given.iter().position(|(given, _)| given == name)?;
    Some(given.remove(place).1)
}

impl View {
    /// Runs work with the engine, under the limits of the API.
    pub async fn run<T, F>(&self, work: impl FnOnce(Arc<Engine>) -> F) -> Result<T, PageError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        Ok(self.api.run_detached(work).await?)
    }

    /// The value of a parameter as it was sent.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut given = self.given.iter();
        given
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// This page with another value for some parameters. None: without the parameter.
    #[must_use]
    pub fn with(&self, changes: &[(&str, Option<&str>)]) -> String {
        self.with_path(&self.path, changes)
    }

    /// As [`View::with`], of another path.
    #[must_use]
    pub fn with_path(&self, path: &str, changes: &[(&str, Option<&str>)]) -> String {
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let rest = self.given.iter().filter(|(name, _)| !is_changed(name));
        let rest: Vec<(&str, Option<&str>)> = rest
            .map(|(name, value)| (name.as_str(), Some(value.as_str())))
            .collect();
        super::ui::url(path, &[rest.as_slice(), changes].concat())
    }

    /// The links of a page of a list. `name`: the parameter with the place of a page; `next`: that of the next one.
    #[must_use]
    pub fn pages(&self, name: &str, next: Option<String>) -> Pages {
        Pages {
            first: self.value(name).map(|_| self.with(&[(name, None)])),
            next: next.map(|next| self.with(&[(name, Some(&next))])),
        }
    }

    /// What a list is limited to. `place`: as in [`View::pages`]; `period`: the parameters with a beginning and an end.
    #[must_use]
    pub fn limits(&self, place: &str, period: [&str; 2]) -> Limits {
        Limits {
            is_filtered: self.given.iter().any(|(name, _)| name != place),
            has_period: period.iter().any(|name| self.value(name).is_some()),
        }
    }

    /// As [`View::pages`], of rows that were read with one more than a page holds, which is removed. `place`: where the page
    /// after a row begins.
    pub fn pages_of<T>(
        &self,
        name: &str,
        rows: &mut Vec<T>,
        most: usize,
        place: impl FnOnce(&T) -> String,
    ) -> Pages {
        let more = rows.len() > most;
        rows.truncate(most);
        self.pages(name, rows.last().filter(|_| more).map(place))
    }

    /// A moment in the query: RFC 3339, or as the field of a form sends it, in UTC.
    ///
    /// # Errors
    /// It is neither.
    pub fn moment(&mut self, name: &'static str) -> Result<Option<DateTime<Utc>>, ApiError> {
        let local = self.value(name).and_then(local_moment);
        match local {
            Some(moment) => {
                self.params.text(name)?;
                Ok(Some(moment))
            }
            None => self.params.moment(name),
        }
    }

    /// Whether the reader may start actions. Every action is about all partners.
    #[must_use]
    pub fn may_operate(&self) -> bool {
        self.principal.may(Scope::Operate) && self.only_partner().is_none()
    }

    /// Of the partners that the reader is limited to, the one that the query names, or the first. None: the reader may see all.
    #[must_use]
    pub fn only_partner(&self) -> Option<&str> {
        Offered::to(&self.principal, self.value("partner")).partner()
    }

    /// The partners that the reader is limited to, if the query names none of them.
    ///
    /// # Errors
    /// The query names another partner.
    pub fn among(&self) -> Result<Option<Arc<BTreeSet<String>>>, ApiError> {
        let named = self.given.iter().filter(|(name, _)| name == "partner");
        let mut is_named = false;
        for (_, partner) in named {
            self.principal.require_partner(partner)?;
            is_named = true;
        }
        Ok(match &self.principal.partners {
            Partners::Only(partners) if !is_named => Some(partners.clone()),
            _ => None,
        })
    }

    /// The list of the clients that the reader may see.
    #[must_use]
    pub fn clients_url(&self) -> String {
        Offered::to(&self.principal, self.value("partner")).clients_url()
    }

    /// A page in the frame of the console.
    pub fn page(&self, frame: Frame<'_>, content: &Markup) -> Response {
        layout::page(&self.framed(frame), &self.with_done(content))
    }

    /// The same, for a page whose rest takes long: what comes before it is sent at once.
    pub fn page_in_parts<F>(self, frame: Frame<'_>, first: &Markup, rest: impl FnOnce(Self) -> F) -> Response
    where
        F: Future<Output = Markup> + Send + 'static,
    {
        let around = Around::of(&self.framed(frame), &self.with_done(first));
        around.page(rest(self))
    }

    fn framed<'a>(&'a self, frame: Frame<'a>) -> Frame<'a> {
        Frame {
            now: Some(self.now),
            ..frame.of(&self.principal, self.value("partner"))
        }
    }

    /// Content below what the last action has done.
    fn with_done(&self, content: &Markup) -> Markup {
        let all_said: Vec<_> = self
            .did
            .iter()
            .filter_map(|(done, count)| said(done, *count))
            .collect();
        html! {
            @if !all_said.is_empty() { div role="status" { @for (tone, text) in all_said { (note(tone, &html! { p { (coded(&text)) } })) } } }
            (content)
        }
    }
}

/// `2026-03-03T09:12`, with or without seconds, as `<input type="datetime-local">` sends it.
fn local_moment(text: &str) -> Option<DateTime<Utc>> {
    ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|moment| Event::truncate(moment.and_utc()))
}
