//! How good a state is: what the console and the terminal colour.

use serde::Serialize;

/// How good a state is. Each has a colour, and a word or a mark beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    Good,
    Neutral,
    Attention,
    Bad,
}

impl Tone {
    /// Its name, as in the classes of the console's style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Neutral => "neutral",
            Self::Attention => "attention",
            Self::Bad => "bad",
        }
    }
}

/// The tone of a status of a link, a service, access, a run, a dead letter or a closing.
#[must_use]
pub fn tone(status: &str) -> Tone {
    match status {
        "active" | "enabled" | "done" | "redriven" | "closed" | "applied" | "yes" | "in force" => Tone::Good,
        "invited" | "pending_assigning" | "disabled" | "held_back" | "stopped" | "paused" | "open"
        | "refused" | "prepared" | "in_progress" | "running" => Tone::Attention,
        "invitation_rejected"
        | "access_rejected"
        | "lost"
        | "expired"
        | "failed"
        | "tripped"
        | "dead"
        | "silent" => Tone::Bad,
        _ => Tone::Neutral,
    }
}
