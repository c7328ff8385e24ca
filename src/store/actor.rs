//! An actor in a column: its kind, a colon, and its id, each if there is one. Empty: there is neither.

use super::Result;
use super::columns::RowId;
use crate::domain::{Actor, ActorKind};

/// No kind has a colon.
pub(super) fn actor_text(actor: &Actor) -> String {
    match (actor.kind, &actor.id) {
        (None, None) => String::new(),
        (kind, id) => format!(
            "{}:{}",
            kind.map_or("", ActorKind::as_str),
            id.as_deref().unwrap_or_default()
        ),
    }
}

/// Reads [`actor_text`]. No id is empty.
pub(super) fn read_actor(row: RowId<'_>, column: &'static str, text: &str) -> Result<Actor> {
    if text.is_empty() {
        return Ok(Actor::default());
    }
    let (kind, id) = text
        .split_once(':')
        .ok_or_else(|| row.unreadable(column, "it has no colon"))?;
    let kind = (!kind.is_empty()).then(|| row.word(column, kind, ActorKind::from_name));
    Ok(Actor {
        id: (!id.is_empty()).then(|| id.into()),
        kind: kind.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: RowId<'_> = RowId {
        table: "events",
        key: &1,
    };

    #[test]
    fn an_actor_reads_back_from_its_column() {
        let ids = [None, Some("u-1"), Some(":"), Some("a:b"), Some("partner")];
        for kind in ActorKind::ALL.map(Some).into_iter().chain([None]) {
            for id in ids {
                let actor = Actor {
                    id: id.map(Into::into),
                    kind,
                };
                let text = actor_text(&actor);
                assert_eq!(read_actor(ROW, "actor", &text).unwrap(), actor, "{text}");
            }
        }
        assert_eq!(actor_text(&Actor::default()), "");
        for wrong in ["x", "nobody:u-1"] {
            let error = read_actor(ROW, "actor", wrong).unwrap_err().to_string();
            assert!(error.contains("events: the actor of 1"), "{error}");
        }
    }
}
