//! The columns of a journal line as [`JournalRow`](crate::store::outbox::JournalRow) reads them, from a table `j`.

/// Words and sources are looked up row by row: a join could be planned as a scan of the journal.
macro_rules! line {
    () => {
        "j.xid, j.seq, (select word from words where number = j.change) as change, j.id, j.before, j.after, j.time,
         (select word from words where number = j.cause) as cause,
         (select source from sources where number = ref_source(j.cause_ref)) as cause_source, j.cause_ref as cause_id,
         j.cause_actor, j.cause_reason,
         case j.corrector when 0 then '' else (select word from words where number = j.corrector) end as corrector,
         (select source from sources where number = ref_source(j.corrector_ref)) as corrector_source,
         j.corrector_ref as corrector_id, j.data, j.recorded_at "
    };
}
pub(super) use line;
