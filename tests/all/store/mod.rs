//! The stores: one suite that both must pass, and what each promises beyond it.

mod commits;
mod dead_letters;
mod given;
mod histories;
mod long_histories;
mod migrations;
mod postgres;
mod reading;
mod relay;
mod renewals;
mod retention;
mod servers;
mod sqlite;
mod sweeps;
mod writers;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tempfile::TempDir;
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Store, Upkeep};

use crate::support::servers::Postgres;

/// An empty, migrated store of one test.
pub(crate) struct Fresh {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) database: Database,
}

/// The way past the store to its tables.
pub(crate) enum Database {
    Postgres(String),
    Sqlite(TempDir),
}

impl Fresh {
    pub(crate) async fn postgres(test: &str) -> Self {
        let url = migrated_postgres(test);
        Self {
            store: Arc::new(connect(&url)),
            database: Database::Postgres(url),
        }
    }

    pub(crate) async fn sqlite(_test: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fresh = Self {
            store: Arc::new(SqliteStore::open(file(folder.path()))),
            database: Database::Sqlite(folder),
        };
        fresh.store.migrate().await.unwrap();
        fresh
    }
}

impl Database {
    /// Another worker's store on the same database.
    fn another_store(&self) -> Arc<dyn Store> {
        match self {
            Self::Postgres(url) => Arc::new(connect(url)),
            Self::Sqlite(folder) => Arc::new(SqliteStore::open(file(folder.path()))),
        }
    }

    /// Runs a statement, and gives its rows as text: fields separated by `|`, nothing for null.
    pub(crate) async fn sql(&self, statement: &'static str) -> Vec<String> {
        match self {
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(statement)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
            Self::Sqlite(folder) => {
                let options = SqliteConnectOptions::new().filename(file(folder.path()));
                let mut connection = options.connect().await.unwrap();
                sqlx::query_scalar(statement)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
        }
    }
}

fn empty_postgres(test: &str) -> String {
    Postgres::shared().database(test)
}

/// A copy of a migrated database: the migrations run once for all tests.
fn migrated_postgres(test: &str) -> String {
    Postgres::shared().prepared_database(test, |url| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = connect(url);
            store.migrate().await.unwrap();
            store.close().await;
        });
    })
}

fn connect(url: &str) -> PostgresStore {
    PostgresStore::connect(url, &PostgresOptions::default()).unwrap()
}

fn file(folder: &Path) -> PathBuf {
    folder.join("tenure.db")
}

/// Makes two tests of each case, one a store.
macro_rules! conformance {
    ($($subject:ident: $($case:ident),* $(,)?;)*) => {
        mod on_postgres {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    super::super::$subject::$case(super::super::Fresh::postgres(stringify!($case)).await).await;
                })*
            })*
        }
        mod on_sqlite {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    super::super::$subject::$case(super::super::Fresh::sqlite(stringify!($case)).await).await;
                })*
            })*
        }
    };
}

conformance! {
    commits:
        a_commit_reads_back,
        an_old_version_is_a_conflict,
        an_event_that_is_there_already_is_a_conflict,
        a_name_is_borne_by_one_client_of_a_partner,
        names_may_be_swapped_in_one_commit,
        known_events_are_told_from_new_ones,
        holders_of_names_are_found,
        a_batch_that_is_dropped_leaves_no_trace,
        a_conflict_leaves_no_trace,
        parts_of_a_transaction_see_those_before,
        a_transaction_is_whole_or_not_at_all,
        outcomes_may_be_different_later,
        whoever_begins_second_sees_what_the_first_wrote,
        ten_thousand_clients_fit_one_commit;
    histories:
        a_history_is_sorted_with_its_touches,
        every_kind_of_event_reads_back,
        what_cannot_be_read_is_named;
    reading:
        clients_are_listed_by_status,
        clients_are_listed_page_by_page_in_order_of_bytes,
        the_census_counts,
        policies_read_back,
        the_arming_of_a_policy_goes_on_where_it_was_left,
        lanes_only_come_further,
        holdings_can_be_asked_for_in_sql;
    sweeps:
        deadlines_are_listed_by_due_time,
        a_run_is_joined_by_whoever_comes_second,
        a_run_that_was_interrupted_goes_on_or_is_overtaken,
        deadlines_are_counted_as_far_as_asked,
        sweeps_are_halted_and_resumed,
        runs_are_listed_newest_first;
    relay:
        lines_are_relayed_in_order_up_to_the_cursor,
        the_cursor_never_moves_backwards,
        a_line_that_is_gone_begins_an_epoch,
        a_journal_is_read_from_a_sequence_number_on;
    dead_letters:
        a_letter_reads_back,
        the_same_letter_again_is_one_record,
        a_redriven_letter_that_comes_back_is_open_again,
        letters_are_listed_by_status,
        a_letter_that_is_too_long_is_kept_cut,
        a_letter_is_in_one_hand_at_a_time,
        a_claim_from_a_clock_that_was_ahead_does_not_count,
        deferred_letters_are_claimed_when_their_time_has_come;
    renewals:
        a_touch_is_kept_inside_a_quiet_stretch_alone,
        what_is_written_of_a_client_ends_its_quiet_stretch,
        a_run_is_not_filled_up_unread;
    retention:
        settled_letters_go_by_age_and_open_ones_never,
        runs_go_by_age_but_for_the_last_of_each_sweep,
        journal_lines_go_by_age_once_they_are_published,
        two_workers_remove_each_row_once;
    writers:
        an_outdated_program_does_not_write;
    migrations:
        they_may_run_twice,
        they_may_run_at_once,
        a_newer_database_is_refused,
        a_database_of_another_program_is_refused;
}
