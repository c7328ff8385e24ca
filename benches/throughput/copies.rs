//! A large store in little time: the engine creates one client from its events, and SQL creates all others as complete
//! copies, with their own names and event ids in the log, in the journal and in the document.

use std::collections::HashMap;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure::domain::{ClientKey, Event};

use crate::bench::store;
use crate::environment::{Database, Environment};
use crate::growth::TABLES;
use crate::population::{Period, Population};
use crate::preload;

/// The shortest history: five events link a client. One touch is stored in addition. Where the number of clients grows,
/// each client has only these.
pub const LINKED: usize = 5;
/// Clients per partner, as in the rest of the benchmark.
const CLIENTS_OF_A_PARTNER: usize = 100;

/// A database with this number of clients, each with this number of events, long before the measured ones.
pub fn load(
    environment: &Environment,
    clients: usize,
    history: usize,
    present: Period,
) -> (Database<'_>, Life) {
    let database = environment.database("growth");
    let life = Life::of(history, present.from);
    environment
        .runtime
        .block_on(preload::into(store(&database), &life.events));
    let began = Instant::now();
    add_copies(&database, clients - 1);
    assert_eq!(database.count("clients_now"), clients, "clients");
    assert_eq!(
        database.count("event_log"),
        clients * history,
        "events in the log"
    );
    assert_eq!(database.count("touches"), clients, "touches");
    environment.progress(&format!(
        "    {clients} clients with {history} events each, loaded in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    (database, life)
}

/// The client that all others are copies of.
pub struct Life {
    pub population: Population,
    pub events: Vec<Event>,
    /// The period of its late events.
    pub late: Period,
}

impl Life {
    /// A client with this number of events in the log and one touch, long before the measured events.
    fn of(history: usize, present: DateTime<Utc>) -> Self {
        let period = |from, until| Period {
            from: present - TimeDelta::days(from),
            until: present - TimeDelta::days(until),
        };
        let more = history - LINKED;
        let mut population = Population::new(9, "growth", 1);
        let mut events = population.activate(present - TimeDelta::days(40));
        assert_eq!(events.len(), LINKED, "it is linked");
        events.extend(population.touches(1, period(38, 37)));
        events.extend(population.steady_events(more, period(37, 1)));
        // In the middle of the history, or after it if all events have one time.
        let late = if more == 0 { period(39, 38) } else { period(20, 19) };
        Self {
            population,
            events,
            late,
        }
    }

    /// Chooses a random client for each event. Returns the chosen clients, and their order.
    pub fn chosen(&self, events: usize, clients: usize) -> (Population, Vec<usize>) {
        let mut rng = StdRng::seed_from_u64(10);
        let mut places = HashMap::new();
        let mut keys = Vec::new();
        let order = (0..events)
            .map(|_| {
                let number = rng.random_range(1..clients);
                *places.entry(number).or_insert_with(|| {
                    keys.push(key(number));
                    keys.len() - 1
                })
            })
            .collect();
        (self.population.copies(11, keys), order)
    }
}

/// The key of a copy, as the SQL below creates it.
pub fn key(number: usize) -> ClientKey {
    let partner = format!("growth-{:06}", number / CLIENTS_OF_A_PARTNER);
    ClientKey::new(&partner, &format!("client-{number:08}")).expect("plain ids")
}

/// Creates complete copies of the only client.
fn add_copies(database: &Database<'_>, copies: usize) {
    database.sql(&format!(
        "-- Random, like real ids, so that the index grows in the same way.
         create function id_of_copy(id text, n integer) returns uuid
         language sql immutable as 'select md5(id || n)::uuid';
         create function ref_of_copy(ref bytea, n integer) returns bytea
         language sql immutable as 'select event_ref(ref_source(ref), uuid_send(id_of_copy(ref_id(ref), n)))';
         -- If the last event of a client is a touch, its document has no id.
         create table one_client as
         select *, coalesce(doc -> 'client' -> 'seen' ->> 'id', '(no id)') as seen from clients;
         create table one_log as
         select e.*, w.word = 'client.added' as names_it from events e join words w on w.number = e.type;
         create table one_journal as select * from journal order by seq;
         create table one_deadlines as select * from deadlines;
         create table one_touches as select * from touches;
         insert into client_keys (partner, client)
         select 'growth-' || lpad((n / {CLIENTS_OF_A_PARTNER})::text, 6, '0'), 'client-' || lpad(n::text, 8, '0')
         from generate_series(1, {copies}) n;
         create table copies as
         select substr(client, 8)::integer as n, number, partner
         from client_keys
         where number not in (select client from one_client)
         order by n;
         analyze copies"
    ));
    database.load(&[
        "insert into clients
             (client, partner, name, name_key, link, service, access, as_of, version, journaled_by, doc)
         select number, copies.partner, name || n, name_key || n, link, service, access, as_of, version, journaled_by,
                replace(replace(doc::text, to_json(name)::text, to_json(name || n)::text),
                        seen, id_of_copy(seen, n)::text)::json
         from copies, one_client;

         insert into events (client, time, ref, type, reason, received_at, sequence, actor, data)
         select number, time, ref_of_copy(ref, n), type, reason, received_at, sequence, actor,
                case when names_it
                     then replace(data, to_json(data::json ->> 'name')::text,
                                  to_json((data::json ->> 'name') || n)::text)
                     else data end
         from copies, one_log"
            .to_owned(),
        "insert into deadlines (client, sweep, due_at)
         select number, sweep, due_at from copies, one_deadlines;

         insert into touches (client, open_run, renew_after, renew_before, renew_policies)
         select number, open_run, renew_after, renew_before, renew_policies from copies, one_touches;

         insert into journal
             (xid, client, change, id, before, after, data, time, cause, cause_ref, cause_actor, cause_reason, corrector,
              corrector_ref, recorded_at)
         select xid, number, change, id, before,
                case when change = (select number from words where word = 'client.named') then after || n else after end,
                data, time, cause,
                case cause_ref when '' then cause_ref else ref_of_copy(cause_ref, n) end, cause_actor, cause_reason, corrector,
                case corrector_ref when '' then corrector_ref else ref_of_copy(corrector_ref, n) end, recorded_at
         from copies cross join lateral (select * from one_journal order by seq offset 0) one"
            .to_owned(),
    ]);
    database.sql("drop table one_client, one_log, one_journal, one_deadlines, one_touches, copies");
    database.sql_at_once(&TABLES.map(|table| format!("vacuum analyze {table}")));
    database.sql("checkpoint");
}
