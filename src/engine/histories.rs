//! Reads the histories of many clients, for work that replays them and needs nothing else.

use std::collections::HashMap;

use super::Engine;
use crate::domain::ClientKey;
use crate::store::{Logged, StoreError};

/// Clients whose histories are read at a time.
pub(super) const GROUP: usize = 100;
/// The most events of a history that is read with others. A client with more is read alone.
const LONGEST: usize = 500;

/// The histories of a group of clients, in the order of their keys, apart from long ones.
pub(super) struct Histories<'k> {
    read: HashMap<ClientKey, Vec<Logged>>,
    rest: &'k [ClientKey],
}

/// Some clients in a row, with their histories.
pub(super) struct Together {
    pub clients: Vec<(ClientKey, Vec<Logged>)>,
    /// It is one client with a long history.
    pub is_long: bool,
}

impl Engine {
    /// Reads the histories of at most [`GROUP`] clients.
    pub(super) async fn histories<'k>(&self, keys: &'k [ClientKey]) -> Result<Histories<'k>, StoreError> {
        Ok(Histories {
            read: self.store.histories(keys, LONGEST).await?,
            rest: keys,
        })
    }
}

impl Histories<'_> {
    /// The next clients: as many as were read together, or one whose history is read now. None: there are no more.
    pub(super) async fn next(&mut self, engine: &Engine) -> Result<Option<Together>, StoreError> {
        let Some(first) = self.rest.first() else {
            return Ok(None);
        };
        let is_long = !self.read.contains_key(first);
        let clients = if is_long {
            vec![(first.clone(), engine.store.history(first).await?)]
        } else {
            let keys = self.rest.iter();
            keys.map_while(|key| self.read.remove_entry(key)).collect()
        };
        self.rest = &self.rest[clients.len()..];
        Ok(Some(Together { clients, is_long }))
    }
}
