//! Redrive: dead letters put through the front door again.

use super::{Answer, Engine, Incoming};
use crate::store::{DeadStatus, StoreError};
use crate::wire::Decoder;

impl Engine {
    /// Reads a dead letter once more and takes what it is now: an event (a batch of them, if it was one),
    /// or a dead letter still. It is marked as redriven when none of it is dead any more; the record
    /// stays. None: there is no such letter.
    ///
    /// # Errors
    /// When the store cannot be reached; redriving again is safe.
    pub async fn redrive(&self, id: i64, decoder: &Decoder) -> Result<Option<Vec<Answer>>, StoreError> {
        let Some(record) = self.store.dead_letter(id).await? else {
            return Ok(None);
        };
        let incoming = decoder
            .again(&record.letter)
            .into_iter()
            .map(|read| read.map_or_else(Incoming::Dead, Incoming::Event))
            .collect();
        let answers = self.take(incoming).await?;
        let dead = answers.iter().any(|answer| matches!(answer, Answer::Dead(_)));
        if !dead {
            self.store.mark_dead(id, DeadStatus::Redriven, self.now()).await?;
        }
        Ok(Some(answers))
    }
}
