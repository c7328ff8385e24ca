//! A table with a row for each event and a column for each state. Every cell is filled.

use serde_json::Value;
use tenure::domain::{Event, Policies};

use super::{Story, on, story, t};

/// A state, defined by the events that lead to it.
pub struct Column {
    pub state: &'static str,
    pub policies: Policies,
    pub given: Vec<Event>,
}

impl Column {
    pub fn new(state: &'static str, given: Vec<Event>) -> Self {
        Self {
            state,
            policies: Policies::default(),
            given,
        }
    }

    pub fn under(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }
}

pub struct Matrix {
    pub columns: Vec<Column>,
    /// The value of the client that the cells show.
    pub shows: fn(&Value) -> String,
    /// The head is `seed | event | state | …`; then one line for each event. `!code` is a refusal.
    pub table: &'static str,
}

impl Matrix {
    pub fn stories(&self) -> Vec<Story> {
        let mut lines = self
            .table
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        let head = lines.next().expect("a head");
        let states: Vec<&str> = self.columns.iter().map(|column| column.state).collect();
        assert_eq!(head[2..], states, "the head names the columns");
        lines.flat_map(|line| self.row(&line)).collect()
    }

    fn row(&self, line: &[&'static str]) -> Vec<Story> {
        let [seed, event, cells @ ..] = line else {
            panic!("{line:?} is not a row");
        };
        assert_eq!(
            cells.len(),
            self.columns.len(),
            "{event} has one cell for each column"
        );
        self.columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| {
                let row = story(
                    seed,
                    format!("given `{}`, when {event}, then {cell}", column.state),
                )
                .under(column.policies.clone())
                .given(column.given.clone())
                .when(on(event, t(20)));
                match cell.strip_prefix('!') {
                    Some(code) => row.refused(code),
                    None => row.reads(self.shows, cell),
                }
            })
            .collect()
    }
}
