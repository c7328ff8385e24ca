-- The same with names, times in RFC 3339, and null for an absent text. Words that are missing show as null.
--
-- An expression without a cast has no type in the catalogue. Columns without a cast are texts.

create view event_log
    (partner, client, source, id, type, time, sequence, received_at, data, outcome, reason, actor, actorkind) as
select k.partner, k.client,
       s.source,
       case typeof(e.id) when 'blob'
           then printf('%s-%s-%s-%s-%s', substr(lower(hex(e.id)), 1, 8), substr(lower(hex(e.id)), 9, 4), substr(lower(hex(e.id)), 13, 4),
                       substr(lower(hex(e.id)), 17, 4), substr(lower(hex(e.id)), 21))
           else e.id end,
       t.word,
       strftime('%Y-%m-%dT%H:%M:%S', (e.time - 999999 * (e.time < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (e.time % 1000000 + 1000000) % 1000000),
       case when e.sequence <> '' then substr(e.sequence, 2) end,
       strftime('%Y-%m-%dT%H:%M:%S', (e.received_at - 999999 * (e.received_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (e.received_at % 1000000 + 1000000) % 1000000),
       case e.data when '' then '{}' else e.data end,
       case e.reason when 0 then 'applied' else 'refused' end,
       r.word,
       nullif(substr(e.actor, instr(e.actor, ':') + 1), ''),
       nullif(substr(e.actor, 1, instr(e.actor, ':') - 1), '')
from events e
left join client_keys k on k.number = e.client
left join sources s on s.number = e.source
left join words t on t.number = e.type
left join words r on r.number = e.reason;

create view change_log
    (seq, partner, client, change, id, before, after, time, cause, correction, recorded_at, data, corrected_by) as
select j.seq, k.partner, k.client,
       w.word,
       nullif(j.id, ''),
       nullif(j.before, ''),
       case j.after when '' then null
                    when '=' then substr(w.word, instr(w.word, '.') + 1)
                    else substr(j.after, 2) end,
       strftime('%Y-%m-%dT%H:%M:%S', (j.time - 999999 * (j.time < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (j.time % 1000000 + 1000000) % 1000000),
       case when j.cause_id <> '' then
                json_patch('{}', json_object('source', s.source,
                            'id', case typeof(j.cause_id) when 'blob'
           then printf('%s-%s-%s-%s-%s', substr(lower(hex(j.cause_id)), 1, 8), substr(lower(hex(j.cause_id)), 9, 4), substr(lower(hex(j.cause_id)), 13, 4),
                       substr(lower(hex(j.cause_id)), 17, 4), substr(lower(hex(j.cause_id)), 21))
           else j.cause_id end,
                            'type', c.word,
                            -- A patch of an empty object leaves out what is null.
                            'actor', nullif(substr(j.cause_actor, instr(j.cause_actor, ':') + 1), ''),
                            'actorkind', nullif(substr(j.cause_actor, 1, instr(j.cause_actor, ':') - 1), ''),
                            'reason', case when j.cause_reason <> '' then substr(j.cause_reason, 2) end))
            -- `timer:access_expiry` or `rebuild:state`.
            else json_object(substr(c.word, 1, instr(c.word, ':') - 1), substr(c.word, instr(c.word, ':') + 1)) end,
       cast(j.corrector <> 0 as integer),
       strftime('%Y-%m-%dT%H:%M:%S', (j.recorded_at - 999999 * (j.recorded_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (j.recorded_at % 1000000 + 1000000) % 1000000),
       nullif(j.data, ''),
       case when j.corrector = 0 then null
            when j.corrector_id <> '' then
                json_object('source', l.source,
                            'id', case typeof(j.corrector_id) when 'blob'
           then printf('%s-%s-%s-%s-%s', substr(lower(hex(j.corrector_id)), 1, 8), substr(lower(hex(j.corrector_id)), 9, 4), substr(lower(hex(j.corrector_id)), 13, 4),
                       substr(lower(hex(j.corrector_id)), 17, 4), substr(lower(hex(j.corrector_id)), 21))
           else j.corrector_id end,
                            'type', b.word)
            else json_object(substr(b.word, 1, instr(b.word, ':') - 1), substr(b.word, instr(b.word, ':') + 1)) end
from journal j
left join client_keys k on k.number = j.client
left join words w on w.number = j.change
left join words c on c.number = j.cause
left join words b on b.number = j.corrector
left join sources s on s.number = j.cause_source
left join sources l on l.number = j.corrector_source;

create view clients_now (partner, client, name, name_key, link, service, access, as_of, version, doc) as
select c.partner, k.client, c.name, c.name_key, c.link, c.service, c.access,
       strftime('%Y-%m-%dT%H:%M:%S', (c.as_of - 999999 * (c.as_of < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (c.as_of % 1000000 + 1000000) % 1000000),
       c.version, c.doc
from clients c
left join client_keys k on k.number = c.client;

create view deadlines_now (partner, client, sweep, due_at) as
select k.partner, k.client,
       w.word,
       strftime('%Y-%m-%dT%H:%M:%S', (d.due_at - 999999 * (d.due_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (d.due_at % 1000000 + 1000000) % 1000000)
from deadlines d
left join client_keys k on k.number = d.client
left join words w on w.number = d.sweep;

create view subscriptions (partner, client, id, status, managed_by, plan, paid_until, ended_at) as
select c.partner, c.client, cast(s.key as text), s.value ->> '$.state.status', s.value ->> '$.managed_by', s.value ->> '$.plan',
       s.value ->> '$.paid_until', s.value ->> '$.state.ended_at'
from clients_now c, json_each(c.doc, '$.client.subscriptions') s;

create view assignments (partner, client, id, service) as
select c.partner, c.client, cast(a.key as text), cast(a.value as text)
from clients_now c, json_each(c.doc, '$.client.assignments') a;

create view report_schedules (partner, client, id) as
select c.partner, c.client, cast(r.value as text)
from clients_now c, json_each(c.doc, '$.client.report_schedules') r;

create view margin_rules (partner, client, id) as
select c.partner, c.client, cast(r.value as text)
from clients_now c, json_each(c.doc, '$.client.margin_rules') r;

create view statement_lines
    (partner, client, statement, month, billable_days, commission_days, status_credit_days, access_days, causes) as
with bits (bit) as (
    values (1), (1 << 1), (1 << 2), (1 << 3), (1 << 4), (1 << 5), (1 << 6), (1 << 7), (1 << 8), (1 << 9), (1 << 10),
           (1 << 11), (1 << 12), (1 << 13), (1 << 14), (1 << 15), (1 << 16), (1 << 17), (1 << 18), (1 << 19), (1 << 20),
           (1 << 21), (1 << 22), (1 << 23), (1 << 24), (1 << 25), (1 << 26), (1 << 27), (1 << 28), (1 << 29), (1 << 30)
)
select k.partner, k.client,
       printf('%04d-%02d', s.stated_in / 100, s.stated_in % 100),
       printf('%04d-%02d', s.month / 100, s.month % 100),
       cast(s.billable - lag(s.billable, 1, 0) over earlier as integer),
       cast(s.commission - lag(s.commission, 1, 0) over earlier as integer),
       cast(s.status_credit - lag(s.status_credit, 1, 0) over earlier as integer),
       cast(s.access - lag(s.access, 1, 0) over earlier as integer),
       nullif(s.causes, '')
from (
    select client, month, stated_in, causes,
           (select count(*) from bits where billable & bit <> 0) as billable,
           (select count(*) from bits where commission & bit <> 0) as commission,
           (select count(*) from bits where status_credit & bit <> 0) as status_credit,
           (select count(*) from bits where access & bit <> 0) as access
    from statement_days
) s
join closings c on c.month = s.stated_in and c.status = 'closed'
left join client_keys k on k.number = s.client
window earlier as (partition by s.client, s.month order by s.stated_in);

create view closed_months (month, closed_by, started_at, closed_at, statements, adjustments) as
select printf('%04d-%02d', month / 100, month % 100), closed_by,
       strftime('%Y-%m-%dT%H:%M:%S', (started_at - 999999 * (started_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (started_at % 1000000 + 1000000) % 1000000),
       strftime('%Y-%m-%dT%H:%M:%S', (closed_at - 999999 * (closed_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (closed_at % 1000000 + 1000000) % 1000000),
       statements, adjustments
from closings
where status = 'closed';

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
