-- The access log (docs/access-log.md). It stays empty while the setting access.log is off.
--
-- An entry needs no row in the event log, which has none for a packed touch. The key ends with the event: an entry of the same
-- event is written once.

create table accesses (
    client   integer not null,
    time     integer not null,
    -- The number of the source of the event.
    source   integer not null,
    -- The id of the event, as in `events`.
    id       any not null,
    reason   integer not null,
    by_staff integer not null,
    sequence text not null,
    user_id  text not null,
    actor    text not null,
    primary key (client, time, source, id)
) strict, without rowid;
-- Retention removes the oldest entries, and lists of all clients are in the order of time.
create index accesses_by_time on accesses (time, client, source, id);

create table access_log_since (
    only_row integer primary key default 1 check (only_row = 1),
    since    integer not null
) strict;

create view access_log (partner, client, time, entered_by, user_id, actor, actorkind, source, id, reason) as
select k.partner, k.client,
       strftime('%Y-%m-%dT%H:%M:%S', (a.time - 999999 * (a.time < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (a.time % 1000000 + 1000000) % 1000000),
       case when a.by_staff then 'staff' else 'partner' end,
       case when a.user_id <> '' then substr(a.user_id, 2) end,
       nullif(substr(a.actor, instr(a.actor, ':') + 1), ''),
       nullif(substr(a.actor, 1, instr(a.actor, ':') - 1), ''),
       s.source,
       case typeof(a.id) when 'blob'
           then printf('%s-%s-%s-%s-%s', substr(lower(hex(a.id)), 1, 8), substr(lower(hex(a.id)), 9, 4), substr(lower(hex(a.id)), 13, 4),
                       substr(lower(hex(a.id)), 17, 4), substr(lower(hex(a.id)), 21))
           else a.id end,
       r.word
from accesses a
left join events e on e.client = a.client and e.time = a.time and e.source = a.source and e.id = a.id
left join client_keys k on k.number = a.client
left join sources s on s.number = a.source
left join words r on r.number = coalesce(e.reason, a.reason);
