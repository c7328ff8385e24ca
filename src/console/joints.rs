//! The lines in the story of a client that join a correction to what it corrects. They run in lanes beside the entries, so that lines
//! do not overlap. Each row draws its part of every line that passes it, because only the browser knows how high a row is.

use std::collections::HashMap;

use maud::{Markup, html};

use crate::engine::HistoryChange;

/// The most lanes. If more lines run beside one row, the last ones share a lane.
const MOST_LANES: usize = 5;

/// What a row of a list is about: a line of the journal, or the head of an entry.
#[derive(Clone, Copy, Default)]
pub struct Row {
    line: Option<i64>,
    corrects: Option<i64>,
}

impl Row {
    #[must_use]
    pub fn of(change: &HistoryChange) -> Self {
        Self {
            line: change.sequence,
            corrects: change.corrects,
        }
    }
}

/// The part of a line that one row draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    lane: usize,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// From the row down: its upper end.
    Down,
    Through,
    /// From above to the row: its lower end.
    Up,
}

/// The parts of all lines, row by row.
pub struct Joints {
    pub lanes: usize,
    pub of_rows: Vec<Vec<Joint>>,
}

impl Joints {
    /// The lines between rows. A line with an end elsewhere is left out.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let places: HashMap<i64, usize> = rows
            .iter()
            .enumerate()
            .filter_map(|(place, row)| Some((row.line?, place)))
            .collect();
        let mut lines: Vec<(usize, usize)> = rows
            .iter()
            .enumerate()
            .filter_map(|(place, row)| {
                let other = *places.get(&row.corrects?)?;
                Some((place.min(other), place.max(other)))
            })
            .collect();
        lines.sort_unstable();
        let mut ends: Vec<usize> = Vec::new();
        let mut of_rows = vec![Vec::new(); rows.len()];
        for (from, to) in lines {
            let free = ends.iter().position(|end| *end < from);
            let lane = free.unwrap_or_else(|| {
                if ends.len() < MOST_LANES {
                    ends.push(0);
                }
                ends.len() - 1
            });
            ends[lane] = ends[lane].max(to);
            for (row, joints) in of_rows.iter_mut().enumerate().take(to + 1).skip(from) {
                let part = match row {
                    row if row == from => Part::Down,
                    row if row == to => Part::Up,
                    _ => Part::Through,
                };
                joints.push(Joint { lane, part });
            }
        }
        Self {
            lanes: ends.len(),
            of_rows,
        }
    }
}

/// The parts that a row draws. The text of the row says the same.
pub fn shown(joints: &[Joint]) -> Markup {
    html! {
        @for Joint { lane, part } in joints {
            @let part = match part { Part::Down => "down", Part::Through => "through", Part::Up => "up" };
            i class={ "joint n" (lane) " " (part) } aria-hidden="true" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: i64, corrects: Option<i64>) -> Row {
        Row {
            line: Some(line),
            corrects,
        }
    }

    #[test]
    fn lines_that_overlap_have_lanes_of_their_own() {
        // 9 corrects 1 over the whole list, 5 corrects 4, and later 3 corrects 2.
        let rows = [
            row(9, Some(1)),
            row(5, Some(4)),
            row(4, None),
            Row::default(),
            row(3, Some(2)),
            row(2, None),
            row(1, None),
        ];
        let joints = Joints::of(&rows);
        assert_eq!(joints.lanes, 2);
        let of_lane = |lane: usize| {
            joints.of_rows.iter().map(move |joints| {
                let joint = joints.iter().find(|joint| joint.lane == lane);
                joint.map_or(' ', |joint| match joint.part {
                    Part::Down => '╭',
                    Part::Through => '│',
                    Part::Up => '╰',
                })
            })
        };
        assert_eq!(of_lane(0).collect::<String>(), "╭│││││╰");
        assert_eq!(of_lane(1).collect::<String>(), " ╭╰ ╭╰ ");
    }

    #[test]
    fn a_line_to_what_is_not_listed_is_not_drawn() {
        let joints = Joints::of(&[row(9, Some(1)), row(8, None)]);
        assert_eq!(joints.lanes, 0);
        assert!(joints.of_rows.iter().all(Vec::is_empty));
    }
}
