//! A line of the journal, as every statement that reads lines selects it.

/// The columns of a `JournalRow` in a select list. Needs `words_of_line` in the joins.
macro_rules! line {
    () => {
        "0 as xid, j.seq, w.word as change, j.id, j.before, j.after, j.time, c.word as cause,
         s.source as cause_source, j.cause_id, j.cause_actor, j.cause_reason, case j.corrector when 0 then '' else b.word end as corrector,
         l.source as corrector_source, j.corrector_id, j.data, j.recorded_at "
    };
}

/// The joins of `journal j` with the words and the sources of its lines.
macro_rules! words_of_line {
    () => {
        " left join words w on w.number = j.change
          left join words c on c.number = j.cause
          left join words b on b.number = j.corrector
          left join sources s on s.number = j.cause_source
          left join sources l on l.number = j.corrector_source "
    };
}

pub(super) use {line, words_of_line};
