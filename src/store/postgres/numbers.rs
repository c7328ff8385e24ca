//! The numbers that stand for keys, sources and words in the tables.
//!
//! Each transaction that writes reads those that it needs, or all words, and adds those that are missing. They are not
//! remembered beyond: a backup may be restored below a running worker, and gives its own numbers. Keys are added in key order, and words before
//! sources before keys: transactions that add the same ones wait for each other, and must not do so in a circle.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use sqlx::{PgConnection, PgExecutor};

use super::batch::columns;
use super::event_ref::event_ref;
use crate::domain::{ClientKey, Refusal};
use crate::store::words::{line_events, line_words, vocabulary};
use crate::store::{Commit, RecordedOutcome, Result, StoreError};

/// The numbers of clients.
pub(super) type ClientNumbers = HashMap<ClientKey, i32>;

/// The numbers that one commit needs.
#[derive(Default)]
pub(super) struct Numbers {
    words: HashMap<String, i16>,
    sources: HashMap<String, i32>,
}

impl Numbers {
    pub(super) fn new(
        words: impl IntoIterator<Item = (String, i16)>,
        sources: impl IntoIterator<Item = (String, i32)>,
    ) -> Self {
        Self {
            words: words.into_iter().collect(),
            sources: sources.into_iter().collect(),
        }
    }

    /// The numbers of words and sources: `known`, if the transaction has read all of them. Otherwise reads and adds them.
    pub(super) async fn of(connection: &mut PgConnection, commit: &Commit, known: Self) -> Result<Self> {
        let (words, sources) = (words_of(commit), sources_of(commit));
        if known.lacks(&words, &sources) == (0, 0) {
            return Ok(known);
        }
        let numbers = Self::read(connection, &words, &sources).await?;
        if numbers.lacks(&words, &sources) == (0, 0) {
            return Ok(numbers);
        }
        let new: Vec<&str> = words
            .iter()
            .map(AsRef::as_ref)
            .filter(|word| !numbers.words.contains_key(*word))
            .collect();
        add_words(connection, &new).await?;
        let new: Vec<&str> = sources
            .iter()
            .copied()
            .filter(|source| !numbers.sources.contains_key(*source))
            .collect();
        add_sources(connection, &new).await?;
        let numbers = Self::read(connection, &words, &sources).await?;
        match numbers.lacks(&words, &sources) {
            (0, 0) => Ok(numbers),
            (words, sources) => Err(StoreError::Conflict(format!(
                "{words} words and {sources} sources have lost their numbers"
            ))),
        }
    }

    async fn read(
        connection: &mut PgConnection,
        words: &BTreeSet<Cow<'_, str>>,
        sources: &BTreeSet<&str>,
    ) -> Result<Self> {
        let found: Vec<(bool, String, i32)> = sqlx::query_as(
            "select false, k.word, w.number::integer
             from unnest($1::text[]) as k (word)
             cross join lateral (select number from words where word = k.word offset 0) w
             union all
             select true, k.source, s.number
             from unnest($2::text[]) as k (source)
             cross join lateral (select number from sources where source = k.source offset 0) s",
        )
        .bind(words.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
        .bind(sources.iter().copied().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        let mut numbers = Self::default();
        for (is_source, name, number) in found {
            if is_source {
                numbers.sources.insert(name, number);
            } else if let Ok(number) = i16::try_from(number) {
                numbers.words.insert(name, number);
            }
        }
        Ok(numbers)
    }

    /// How many of these words and sources have no number.
    fn lacks(&self, words: &BTreeSet<Cow<'_, str>>, sources: &BTreeSet<&str>) -> (usize, usize) {
        let words = words
            .iter()
            .filter(|word| !self.words.contains_key(word.as_ref()));
        let sources = sources
            .iter()
            .filter(|source| !self.sources.contains_key(**source));
        (words.count(), sources.count())
    }

    /// The number of a word of the commit.
    pub(super) fn word(&self, word: &str) -> i16 {
        self.words[word]
    }

    /// As [`Numbers::refusal`], of an outcome.
    pub(super) fn reason(&self, outcome: RecordedOutcome) -> i16 {
        self.refusal(outcome.refusal())
    }

    /// The number of a refusal; 0 if there is none.
    pub(super) fn refusal(&self, refusal: Option<Refusal>) -> i16 {
        refusal.map_or(0, |refusal| self.word(refusal.code()))
    }

    /// The name of an event of the commit.
    pub(super) fn event(&self, source: &str, id: &str) -> Vec<u8> {
        event_ref(self.sources[source], id)
    }
}

fn words_of(commit: &Commit) -> BTreeSet<Cow<'_, str>> {
    let code = |outcome: RecordedOutcome| outcome.refusal().map(Refusal::code);
    let mut words: BTreeSet<Cow<'_, str>> = BTreeSet::new();
    for write in &commit.events {
        words.insert(write.event.kind.type_name().into());
        words.extend(code(write.outcome).map(Cow::from));
    }
    words.extend(
        commit
            .outcomes
            .iter()
            .filter_map(|u| code(u.outcome))
            .map(Cow::from),
    );
    let refusals = commit.accesses.iter().filter_map(|access| access.refused);
    let refusals = refusals.chain(commit.touch_outcomes.iter().filter_map(|update| update.refusal));
    words.extend(refusals.map(|refusal| Cow::from(refusal.code())));
    for entry in &commit.journal {
        words.insert(entry.change.kind().as_str().into());
        words.extend(line_words(entry));
    }
    words.extend(
        commit
            .deadlines_set
            .iter()
            .map(|(_, sweep, _)| sweep.as_str().into()),
    );
    words.extend(
        commit
            .deadlines_cleared
            .iter()
            .map(|(_, sweep)| sweep.as_str().into()),
    );
    words
}

fn sources_of(commit: &Commit) -> BTreeSet<&str> {
    let logged = commit.events.iter().map(|write| &*write.event.source);
    let updated = commit.outcomes.iter().map(|update| &*update.source);
    let lines = commit.journal.iter().flat_map(line_events);
    let lines = lines.map(|(source, _)| source);
    let accesses = commit.accesses.iter().map(|access| &*access.source);
    let traces = commit.traces.iter().map(|trace| &*trace.source);
    logged
        .chain(updated)
        .chain(lines)
        .chain(accesses)
        .chain(traces)
        .collect()
}

/// Adds the words of this program that are missing. A conflict would use up a number, so none is provoked.
pub(super) async fn add_vocabulary(connection: &mut PgConnection) -> Result<()> {
    let vocabulary = vocabulary();
    add_words(
        connection,
        &vocabulary.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
    )
    .await
}

async fn add_words(connection: &mut PgConnection, new: &[&str]) -> Result<()> {
    if !new.is_empty() {
        sqlx::query(
            "insert into words (word)
             select k.word
             from unnest($1::text[]) as k (word)
             where not exists (select from words where word = k.word)
             order by k.word
             on conflict do nothing",
        )
        .bind(new)
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn add_sources(connection: &mut PgConnection, new: &[&str]) -> Result<()> {
    if !new.is_empty() {
        sqlx::query(
            "insert into sources (source)
             select k.source
             from unnest($1::text[]) as k (source)
             order by k.source
             on conflict do nothing",
        )
        .bind(new)
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Adds the numbers of clients that a commit writes and whose numbers are not known yet. New clients have none.
pub(super) async fn add_clients(
    connection: &mut PgConnection,
    commit: &Commit,
    known: &mut ClientNumbers,
) -> Result<()> {
    add_keys(connection, commit.keys(), known).await
}

/// Reads the numbers of clients that are not known yet, and adds those that are missing, in this order.
pub(super) async fn add_keys(
    connection: &mut PgConnection,
    keys: impl IntoIterator<Item = &ClientKey>,
    known: &mut ClientNumbers,
) -> Result<()> {
    let new: Vec<&ClientKey> = keys.into_iter().filter(|key| !known.contains_key(*key)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(new.iter().copied());
    let added: Vec<(String, String, i32)> = sqlx::query_as(
        "insert into client_keys (partner, client)
         select * from unnest($1::text[], $2::text[])
         on conflict do nothing
         returning partner, client, number",
    )
    .bind(partners)
    .bind(clients)
    .fetch_all(&mut *connection)
    .await?;
    known.extend(added.into_iter().map(numbered));
    // Another transaction has added them, or this one has written them without locking them.
    let others: Vec<&ClientKey> = new.into_iter().filter(|key| !known.contains_key(*key)).collect();
    if !others.is_empty() {
        find_clients(connection, others, known).await?;
    }
    Ok(())
}

/// Reads the numbers of clients. Leaves out those that nothing was ever stored about.
pub(super) async fn find_clients(
    connection: &mut PgConnection,
    keys: impl IntoIterator<Item = &ClientKey>,
    known: &mut ClientNumbers,
) -> Result<()> {
    let (partners, clients) = columns(keys);
    let found: Vec<(String, String, i32)> = sqlx::query_as(
        "select k.partner, k.client, n.number
         from unnest($1::text[], $2::text[]) as k (partner, client)
         cross join lateral (
             select number from client_keys where partner = k.partner and client = k.client offset 0
         ) n",
    )
    .bind(partners)
    .bind(clients)
    .fetch_all(connection)
    .await?;
    known.extend(found.into_iter().map(numbered));
    Ok(())
}

fn numbered((partner, client, number): (String, String, i32)) -> (ClientKey, i32) {
    (crate::store::columns::key(&partner, &client), number)
}

/// The number of a client. None: nothing was ever stored about it.
pub(super) async fn of_client(executor: impl PgExecutor<'_>, key: &ClientKey) -> Result<Option<i32>> {
    let number = sqlx::query_scalar("select number from client_keys where partner = $1 and client = $2")
        .bind(&*key.partner)
        .bind(&*key.client)
        .fetch_optional(executor)
        .await?;
    Ok(number)
}
