//! Tests of the stores: a conformance suite for both, and what each guarantees beyond it.

mod accesses;
mod activity;
mod audit;
mod checkpoints;
mod commits;
mod dead_letters;
mod feed;
mod given;
mod halts;
mod histories;
mod keys;
mod lists;
mod long_histories;
mod migrations;
mod names;
mod postgres;
mod reading;
mod relay;
mod renewals;
mod retention;
mod servers;
mod snapshots;
mod sources;
mod sqlite;
mod statements;
mod sweeps;
mod traces;
mod transactions;
mod webhooks;
mod workers;
mod writers;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tempfile::TempDir;
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Store, Upkeep};

pub(crate) use given::relayed;

/// A commit that adds a client.
pub(crate) fn new_client_commit(key: &tenure::domain::ClientKey) -> tenure::store::Commit {
    given::clients(vec![given::new_client(key, &key.client)])
}

use crate::support::servers::Postgres;

/// An empty, migrated store for one test.
pub(crate) struct Fresh {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) database: Database,
}

/// Direct access to the tables.
pub(crate) enum Database {
    Postgres(String),
    Sqlite(TempDir),
}

impl Fresh {
    #[expect(
        clippy::unused_async,
        reason = "symmetrical with SQLite, where the store is migrated here"
    )]
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

    /// Waits until a transaction waits for another one.
    async fn wait_for_blocked_writer(&self) {
        let end = Instant::now() + Duration::from_mins(1);
        while !self.has_blocked_writer().await {
            assert!(Instant::now() < end, "no transaction waits for another");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn has_blocked_writer(&self) -> bool {
        let Self::Sqlite(folder) = self else {
            let waiting = "select pid::text from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'";
            return !self.sql(waiting).await.is_empty();
        };
        // A writer that waits for SQLite's write lock holds this file.
        let turn = File::open(folder.path().join("tenure.db-turn")).unwrap();
        matches!(turn.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Runs a statement, and returns its rows as text: fields separated by `|`, null as an empty field.
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

/// Defines a test of each case for each store.
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
        a_commit_is_read_back_as_written,
        a_stale_version_is_a_conflict,
        a_duplicate_event_is_a_conflict,
        duplicates_are_distinguished_from_new_events,
        namesakes_of_logged_events_are_found,
        ids_of_every_form_read_back_and_stay_distinct,
        views_show_names,
        a_later_commit_changes_outcomes,
        a_commit_with_long_lists_is_complete,
        a_commit_names_sources_that_its_batch_has_not_read,
        ten_thousand_clients_fit_one_commit;
    names:
        one_client_of_a_partner_holds_a_name,
        two_clients_swap_names_in_one_commit,
        a_client_cannot_be_renamed_to_a_name_that_is_held,
        holders_returns_the_clients_that_hold_names;
    histories:
        a_history_is_sorted_with_its_touches,
        a_history_is_sorted_by_sequences_as_numbers,
        histories_of_many_clients_are_those_of_each,
        actors_and_reasons_read_back_from_the_log_and_the_journal,
        every_kind_of_event_reads_back,
        an_unreadable_value_is_reported_with_table_column_and_key;
    checkpoints:
        the_last_checkpoint_before_a_moment_is_found,
        a_commit_replaces_checkpoints,
        a_checkpoint_that_cannot_be_read_has_no_state,
        a_history_is_read_from_a_moment_on;
    snapshots:
        many_clients_are_read_as_each_alone,
        a_bound_leaves_out_the_clients_after_it;
    reading:
        clients_are_listed_by_status,
        clients_are_listed_in_pages_in_byte_order,
        clients_are_read_by_key,
        clients_are_found_by_account,
        the_census_counts_clients_and_rows,
        policies_are_read_back_as_recorded,
        a_deadline_backfill_resumes_where_it_stopped,
        watermarks_only_advance,
        holdings_can_be_queried_in_sql;
    sources:
        a_source_that_stays_expected_keeps_what_was_heard,
        what_is_heard_only_advances,
        the_events_of_a_source_are_counted_by_the_hour;
    statements:
        a_closing_has_one_claim_at_a_time,
        each_author_of_a_closing_has_one_entry,
        only_the_next_month_can_be_claimed,
        first_closings_that_race_stay_in_order,
        a_page_is_recorded_with_its_progress_or_not_at_all,
        what_was_stated_reads_back_in_order,
        statement_lines_add_up_in_sql,
        events_stored_since_a_moment_are_found;
    lists:
        clients_of_all_partners_are_found,
        clients_with_the_last_names_are_found,
        partners_are_listed_with_their_counts,
        refusals_are_listed_newest_first;
    sweeps:
        deadlines_are_listed_by_due_time,
        a_second_worker_joins_a_run,
        an_interrupted_run_resumes_or_is_overtaken,
        the_last_run_that_is_done_is_found_behind_others,
        counting_deadlines_stops_at_the_limit,
        runs_are_listed_newest_first,
        a_run_has_the_changes_of_its_chunks;
    halts:
        sweeps_are_halted_and_resumed;
    relay:
        lines_after_the_cursor_are_listed_in_order,
        the_cursor_never_moves_backwards,
        a_missing_line_shows_that_the_store_is_behind,
        a_client_journal_is_read_after_a_sequence_number;
    feed:
        the_feed_has_the_order_of_the_relay,
        a_filtered_feed_examines_a_bounded_number_of_lines,
        a_place_before_pruned_lines_has_a_gap,
        a_place_in_a_past_that_was_undone_has_a_gap,
        states_include_their_last_line;
    dead_letters:
        a_dead_letter_is_read_back_as_written,
        a_redelivered_dead_letter_is_one_record,
        a_redriven_dead_letter_reopens_when_redelivered,
        only_an_open_dead_letter_is_discarded,
        dead_letters_are_listed_by_status,
        a_body_that_is_too_long_is_stored_truncated,
        a_dead_letter_has_one_claim_at_a_time,
        a_claim_from_a_clock_ahead_is_ignored,
        deferred_dead_letters_are_claimed_once_due;
    renewals:
        renew_adds_touches_only_within_a_renew_only_window,
        a_write_of_a_client_ends_its_renew_only_window,
        renew_does_not_fill_a_run;
    accesses:
        entries_are_listed_latest_first_in_pages,
        entries_of_all_clients_are_listed_latest_first,
        an_entry_is_stored_once,
        an_entry_has_the_outcome_of_the_event_log,
        a_packed_touch_gets_a_new_outcome,
        the_view_of_the_access_log_shows_names,
        it_is_recorded_since_when_the_access_log_is_on;
    activity:
        the_counts_of_other_workers_are_added_up,
        counts_that_are_no_longer_kept_are_removed;
    audit:
        entries_are_read_back_and_listed_newest_first,
        a_page_of_the_audit_log_reads_so_many_entries,
        entries_of_a_time_are_found_wherever_they_are,
        the_last_entry_about_a_target_is_found,
        an_action_and_its_entry_are_one_transaction,
        an_endpoint_is_changed_with_its_entry,
        old_entries_are_pruned,
        sessions_are_shared_ended_and_expire;
    retention:
        old_resolved_dead_letters_are_pruned_and_open_ones_stay,
        old_runs_are_pruned_except_the_last_and_the_last_done_of_each_sweep,
        old_journal_lines_are_pruned_once_published,
        old_entries_of_the_access_log_are_pruned,
        two_workers_prune_each_row_once;
    traces:
        a_line_has_the_trace_context_of_the_event_that_caused_it,
        old_trace_contexts_are_pruned;
    transactions:
        a_dropped_batch_leaves_no_trace,
        a_conflict_leaves_no_trace,
        a_stale_client_leaves_no_trace,
        an_empty_batch_reads_and_writes_nothing,
        parts_of_a_transaction_see_earlier_parts,
        a_transaction_is_atomic,
        the_second_batch_sees_the_writes_of_the_first,
        the_second_batch_of_events_sees_the_writes_of_the_first;
    webhooks:
        an_endpoint_is_read_back_as_it_was_changed,
        progress_is_recorded_for_the_present_revision_only,
        progress_never_moves_back_nor_to_a_missing_line,
        one_worker_at_a_time_leads_delivery,
        lines_that_an_active_endpoint_has_not_received_are_not_pruned;
    workers:
        workers_are_listed_as_they_recorded_themselves,
        a_worker_removes_those_that_are_no_longer_listed_or_replaced;
    writers:
        an_outdated_program_cannot_write;
    migrations:
        migrating_twice_changes_nothing,
        workers_migrate_concurrently,
        a_newer_database_is_refused,
        a_database_of_another_program_is_refused,
        tables_from_before_the_baseline_are_refused,
        migrating_again_uses_up_no_numbers;
}
