//! Numbers of clients, sources and words, which the tables hold instead of the texts.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use sqlx::SqliteConnection;

use super::many;
use crate::domain::{ClientKey, Refusal};
use crate::store::columns::key;
use crate::store::words::{line_events, line_words, vocabulary};
use crate::store::{Commit, RecordedOutcome, Result};

/// The numbers that a transaction has read or assigned. They are dropped with it: a backup may be restored below a running
/// worker.
#[derive(Default)]
pub(super) struct Numbers {
    clients: HashMap<ClientKey, i64>,
    sources: HashMap<String, i64>,
    words: HashMap<String, i64>,
}

/// Why a number is there: [`Numbers::assign`] ran before the commit was written.
const ASSIGNED: &str = "every text of a commit has a number";

impl Numbers {
    pub(super) fn add_client(&mut self, key: ClientKey, number: i64) {
        self.clients.insert(key, number);
    }

    /// The number of a client, if it has been read.
    pub(super) fn find_client(&self, key: &ClientKey) -> Option<i64> {
        self.clients.get(key).copied()
    }

    /// The number of a source, if it has been read.
    pub(super) fn find_source(&self, source: &str) -> Option<i64> {
        self.sources.get(source).copied()
    }

    /// The number of a client of a commit.
    pub(super) fn client(&self, key: &ClientKey) -> i64 {
        self.find_client(key).expect(ASSIGNED)
    }

    /// The number of a source of a commit.
    pub(super) fn source(&self, source: &str) -> i64 {
        self.find_source(source).expect(ASSIGNED)
    }

    /// The number of a word of a commit.
    pub(super) fn word(&self, word: &str) -> i64 {
        self.words.get(word).copied().expect(ASSIGNED)
    }

    /// Reads the numbers of those clients that have one.
    pub(super) async fn read_clients(
        &mut self,
        connection: &mut SqliteConnection,
        keys: impl IntoIterator<Item = &ClientKey>,
    ) -> Result<()> {
        let unknown: Vec<&ClientKey> = keys
            .into_iter()
            .filter(|key| !self.clients.contains_key(key))
            .collect();
        let placed: Vec<(i64, &ClientKey)> = (0..).zip(unknown.iter().copied()).collect();
        let found: Vec<(i64, i64)> = many::read(
            connection,
            many!(
                "select w.column1, k.number
                 from (values " each "(?, ?, ?)" ") w
                 cross join client_keys k on k.partner = w.column2 and k.client = w.column3"
            ),
            &placed,
            |query, (place, key)| query.bind(*place).bind(&*key.partner).bind(&*key.client),
        )
        .await?;
        for (place, number) in found {
            if let Some(key) = usize::try_from(place).ok().and_then(|place| unknown.get(place)) {
                self.clients.insert((*key).clone(), number);
            }
        }
        Ok(())
    }

    /// Reads the numbers of those sources that have one.
    pub(super) async fn read_sources(
        &mut self,
        connection: &mut SqliteConnection,
        sources: &BTreeSet<&str>,
    ) -> Result<()> {
        let unknown = without_number(sources.iter().copied(), &self.sources);
        let found: Vec<(String, i64)> = many::read(
            connection,
            many!(
                "select s.source, s.number
                 from (values " each "(?)" ") w
                 cross join sources s on s.source = w.column1"
            ),
            &unknown,
            |query, source| query.bind(*source),
        )
        .await?;
        self.sources.extend(found);
        Ok(())
    }

    async fn read_words(
        &mut self,
        connection: &mut SqliteConnection,
        words: &BTreeSet<Cow<'_, str>>,
    ) -> Result<()> {
        let unknown = without_number(words.iter().map(AsRef::as_ref), &self.words);
        let found: Vec<(String, i64)> = many::read(
            connection,
            many!(
                "select w.word, w.number
                 from (values " each "(?)" ") v
                 cross join words w on w.word = v.column1"
            ),
            &unknown,
            |query, word| query.bind(*word),
        )
        .await?;
        self.words.extend(found);
        Ok(())
    }

    /// Reads the numbers of everything in a commit, and assigns those that are missing.
    pub(super) async fn assign(&mut self, connection: &mut SqliteConnection, commit: &Commit) -> Result<()> {
        let clients: Vec<ClientKey> = clients_of(commit, &self.clients).into_iter().collect();
        self.assign_clients(connection, &clients).await?;
        self.assign_sources(connection, &sources_of(commit)).await?;
        self.assign_words(connection, &words_of(commit)).await
    }

    /// Reads the numbers of clients, and assigns those that are missing, in this order.
    pub(super) async fn assign_clients(
        &mut self,
        connection: &mut SqliteConnection,
        keys: &[ClientKey],
    ) -> Result<()> {
        self.read_clients(connection, keys).await?;
        let missing: Vec<&ClientKey> = keys
            .iter()
            .filter(|key| !self.clients.contains_key(key))
            .collect();
        let assigned: Vec<(i64, String, String)> = many::read(
            connection,
            many!(
                "insert or fail into client_keys (partner, client)
                 select *
                 from (values " each "(?, ?)" ")
                 where column1 is not null
                 returning number, partner, client"
            ),
            &missing,
            |query, key| query.bind(&*key.partner).bind(&*key.client),
        )
        .await?;
        for (number, partner, client) in assigned {
            self.add_client(key(&partner, &client), number);
        }
        Ok(())
    }

    async fn assign_sources(
        &mut self,
        connection: &mut SqliteConnection,
        sources: &BTreeSet<&str>,
    ) -> Result<()> {
        self.read_sources(connection, sources).await?;
        let missing = without_number(sources.iter().copied(), &self.sources);
        let assigned: Vec<(String, i64)> = many::read(
            connection,
            many!(
                "insert or fail into sources (source)
                 select *
                 from (values " each "(?)" ")
                 where column1 is not null
                 returning source, number"
            ),
            &missing,
            |query, source| query.bind(*source),
        )
        .await?;
        self.sources.extend(assigned);
        Ok(())
    }

    async fn assign_words(
        &mut self,
        connection: &mut SqliteConnection,
        words: &BTreeSet<Cow<'_, str>>,
    ) -> Result<()> {
        self.read_words(connection, words).await?;
        let missing = without_number(words.iter().map(AsRef::as_ref), &self.words);
        let assigned: Vec<(String, i64)> = many::read(
            connection,
            many!(
                "insert or fail into words (word)
                 select *
                 from (values " each "(?)" ")
                 where column1 is not null
                 returning word, number"
            ),
            &missing,
            |query, word| query.bind(*word),
        )
        .await?;
        self.words.extend(assigned);
        Ok(())
    }
}

/// Assigns numbers to all words that this program knows.
pub(super) async fn assign_vocabulary(connection: &mut SqliteConnection) -> Result<()> {
    Numbers::default().assign_words(connection, &vocabulary()).await
}

fn without_number<'a>(texts: impl Iterator<Item = &'a str>, numbers: &HashMap<String, i64>) -> Vec<&'a str> {
    texts.filter(|text| !numbers.contains_key(*text)).collect()
}

/// The clients of a commit without a known number, sorted: clients that are next to each other in the index get numbers next to
/// each other.
fn clients_of(commit: &Commit, known: &HashMap<ClientKey, i64>) -> BTreeSet<ClientKey> {
    let mut clients = commit.keys();
    clients.retain(|key| !known.contains_key(*key));
    clients.into_iter().cloned().collect()
}

fn sources_of(commit: &Commit) -> BTreeSet<&str> {
    let events = commit.events.iter().map(|write| &*write.event.source);
    let outcomes = commit.outcomes.iter().map(|update| &*update.source);
    let lines = commit.journal.iter().flat_map(line_events);
    let accesses = commit.accesses.iter().map(|access| &*access.source);
    let traces = commit.traces.iter().map(|trace| &*trace.source);
    events
        .chain(outcomes)
        .chain(accesses)
        .chain(traces)
        .chain(lines.map(|(source, _)| source))
        .collect()
}

fn words_of(commit: &Commit) -> BTreeSet<Cow<'_, str>> {
    let types = commit.events.iter().map(|write| write.event.kind.type_name());
    let outcomes = commit.events.iter().map(|write| write.outcome);
    let updates = commit.outcomes.iter().map(|update| update.outcome);
    let reasons = outcomes.chain(updates).filter_map(RecordedOutcome::refusal);
    let refused = commit.accesses.iter().filter_map(|access| access.refused);
    let refused = refused.chain(commit.touch_outcomes.iter().filter_map(|update| update.refusal));
    let changes = commit.journal.iter().map(|entry| entry.change.kind().as_str());
    let set = commit.deadlines_set.iter().map(|(_, sweep, _)| sweep.as_str());
    let cleared = commit.deadlines_cleared.iter().map(|(_, sweep)| sweep.as_str());
    let lines = commit.journal.iter().flat_map(line_words);
    let mut words: BTreeSet<Cow<'_, str>> = types
        .chain(reasons.chain(refused).map(Refusal::code))
        .chain(changes)
        .chain(set)
        .chain(cleared)
        .map(Cow::Borrowed)
        .collect();
    words.extend(lines);
    words
}
