//! The tabs of the list of clients, each with the number of clients that match under the other filters.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};

use super::remembered::Remembered;
use super::ui::number;
use super::view::View;
use crate::domain::view::Tab;
use crate::engine::{ClientCounts, SearchRequest, ServiceFilter};

const COUNTS_FRESH_FOR: Duration = Duration::from_secs(30);
/// Rows of each search in the quick count, which the tabs show until the count of more rows has ended.
const COUNTED_AT_ONCE: u32 = 1_000;

/// Counts of clients by filter.
pub type Counts = Remembered<String, ClientCounts>;

/// A parameter and its value.
type Param = (&'static str, &'static str);

/// A tab of the seeds, or the list without one.
struct Shown {
    name: &'static str,
    title: &'static str,
    /// Which clients it lists. The title alone does not say that.
    meaning: &'static str,
    /// The parameter that it sets.
    sets: Option<Param>,
}

const TABS: [Shown; 4] = [
    Shown {
        name: "all",
        title: "All",
        meaning: "All clients that match the filters, including deleted ones.",
        sets: None,
    },
    Shown {
        name: "active",
        title: "Active",
        meaning: "Clients whose link is active.",
        sets: Some(("tab", "active")),
    },
    Shown {
        name: "inactive",
        title: "Inactive",
        meaning: "Clients whose link is not active: draft, invited, rejected, archived or lost.",
        sets: Some(("tab", "inactive")),
    },
    Shown {
        name: "all_active",
        title: "All active",
        meaning: "Clients whose service is pending assigning or active, whatever their link.",
        sets: Some(("service", "all_active")),
    },
];

/// The tabs with their counts under the other filters.
/// `searches`: what the page lists, with the tab and the filters.
pub async fn tabs(view: &View, mut searches: Vec<SearchRequest>) -> Markup {
    let current = match (view.value("tab"), view.value("service")) {
        (Some("active"), _) => "active",
        (Some("inactive"), _) => "inactive",
        (None, Some("all_active")) => "all_active",
        _ => "all",
    };
    for request in &mut searches {
        request.list.tab = None;
        if current == "all_active" {
            request.list.service = None;
        }
    }
    // This tab replaces the filter of services.
    let mut unfiltered = Vec::new();
    if searches.iter().any(|request| request.list.service.is_some()) {
        unfiltered.clone_from(&searches);
        for request in &mut unfiltered {
            request.list.service = Some(ServiceFilter::AllActive);
        }
    }
    let (counts, all_active) = tokio::join!(count(view, searches), async {
        if unfiltered.is_empty() {
            None
        } else {
            count(view, unfiltered).await
        }
    });
    let all_active = all_active.as_ref().or(counts.as_ref());
    let shown = |name: &str| {
        let counts = if name == "all_active" {
            all_active
        } else {
            counts.as_ref()
        };
        let counts = counts?;
        let clients = match (name, Tab::from_name(name)) {
            ("all_active", _) => counts.all_active(),
            (_, Some(tab)) => counts.on_tab(tab),
            _ => counts.facets.clients,
        };
        // "At least 0" says nothing.
        (counts.complete || clients > 0).then_some((clients, counts.complete))
    };
    html! {
        nav.tabs aria-label="Tabs" {
            @for tab in &TABS {
                a href=(tab_url(view, current, tab.sets)) aria-current=[(tab.name == current).then_some("true")] title=(tab.meaning) {
                    (tab.title)
                    @if let Some((clients, is_complete)) = shown(tab.name) {
                        span.count { (number(clients)) @if !is_complete { "+" } }
                    }
                }
            }
        }
        @for tab in TABS.iter().filter(|tab| tab.name == current) { p.muted { (tab.meaning) } }
    }
}

/// How many clients match, of a bounded part of the list. A quick count of a smaller part stands in until that is counted.
async fn count(view: &View, searches: Vec<SearchRequest>) -> Option<ClientCounts> {
    let searches = Arc::new(searches);
    let (key, engine, counted) = (format!("{searches:?}"), view.engine.clone(), searches.clone());
    let counting = async move { engine.count_any(&counted, None).await.ok() };
    if let Some(counts) = view.console.counts.get(key, COUNTS_FRESH_FOR, counting).await {
        return Some(counts);
    }
    view.run(|engine| async move { engine.count_any(&searches, Some(COUNTED_AT_ONCE)).await })
        .await
        .ok()
}

/// The list with a tab instead of the current one.
fn tab_url(view: &View, current: &str, sets: Option<(&str, &str)>) -> String {
    let mut changes = vec![("tab", None), ("after", None)];
    if current == "all_active" {
        changes.push(("service", None));
    }
    if let Some((param, value)) = sets {
        changes.retain(|(changed, _)| *changed != param);
        changes.push((param, Some(value)));
    }
    view.with(&changes)
}
