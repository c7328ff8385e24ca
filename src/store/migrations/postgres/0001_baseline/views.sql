-- The same with names, for people, tests and reports. Words that are missing show as null.

create view event_log as
select k.partner, k.client, s.source, ref_id(e.ref) as id, t.word as type, e.time,
       case when e.sequence <> '' then substr(e.sequence, 2) end as sequence,
       e.received_at,
       coalesce(nullif(e.data, ''), '{}')::json as data,
       case e.reason when 0 then 'applied' else 'refused' end as outcome,
       r.word as reason,
       e.ref,
       nullif(substr(e.actor, strpos(e.actor, ':') + 1), '') as actor,
       nullif(split_part(e.actor, ':', 1), '') as actorkind
from events e
left join client_keys k on k.number = e.client
left join sources s on s.number = ref_source(e.ref)
left join words t on t.number = e.type
left join words r on r.number = e.reason;
comment on view event_log is 'The event log. It has every event that was applied or refused, except packed touches.';
comment on column event_log.partner is 'The partner''s id.';
comment on column event_log.client is 'The client''s id.';
comment on column event_log.source is 'The source. With the id it identifies the event.';
comment on column event_log.id is 'The id.';
comment on column event_log.type is 'The type.';
comment on column event_log.time is 'When it happened, according to its source.';
comment on column event_log.sequence is 'Orders events of the same time. Null: it has none.';
comment on column event_log.received_at is 'When it was stored.';
comment on column event_log.data is 'Its data, as far as the program understands it.';
comment on column event_log.outcome is '`applied` or `refused`.';
comment on column event_log.reason is 'Why it was refused. Null: it was applied.';
comment on column event_log.actor is 'Who caused it, an id of the source''s own. Null: it did not say.';
comment on column event_log.actorkind is '`partner`, `customer`, `back_office` or `system`. Null: it did not say.';
comment on column event_log.ref is 'Its source and id as the tables have them: see the function `event_ref`.';

create view change_log as
select j.xid, j.seq, k.partner, k.client, c.word as change,
       nullif(j.id, '') as id,
       nullif(j.before, '') as before,
       case j.after when '' then null when '=' then split_part(c.word, '.', 2) else substr(j.after, 2) end as after,
       j.time,
       case
           when j.cause_ref <> '' then json_strip_nulls(json_build_object(
               'source', s.source, 'id', ref_id(j.cause_ref), 'type', w.word,
               'actor', nullif(substr(j.cause_actor, strpos(j.cause_actor, ':') + 1), ''),
               'actorkind', nullif(split_part(j.cause_actor, ':', 1), ''),
               'reason', case when j.cause_reason <> '' then substr(j.cause_reason, 2) end))
           else json_build_object(split_part(w.word, ':', 1), split_part(w.word, ':', 2))
       end as cause,
       j.corrector <> 0 as correction, j.recorded_at,
       nullif(j.data, '')::json as data,
       case
           when j.corrector = 0 then null
           when j.corrector_ref <> '' then json_build_object(
               'source', l.source, 'id', ref_id(j.corrector_ref), 'type', b.word)
           else json_build_object(split_part(b.word, ':', 1), split_part(b.word, ':', 2))
       end as corrected_by
from journal j
left join client_keys k on k.number = j.client
left join words c on c.number = j.change
left join words w on w.number = j.cause
left join words b on b.number = j.corrector
left join sources s on s.number = ref_source(j.cause_ref)
left join sources l on l.number = ref_source(j.corrector_ref);
comment on view change_log is 'The journal: all changes. They are published in the order of `xid` and `seq`.';
comment on column change_log.xid is 'The transaction that wrote the line.';
comment on column change_log.seq is 'Orders the lines of a transaction.';
comment on column change_log.partner is 'The partner''s id.';
comment on column change_log.client is 'The client''s id.';
comment on column change_log.change is 'The type of the change.';
comment on column change_log.id is 'The id of the holding. Null: the change is not about a holding.';
comment on column change_log.before is 'The value before. Null: there was none.';
comment on column change_log.after is 'The value after. Null: there is none.';
comment on column change_log.time is 'When it took effect.';
comment on column change_log.cause is 'What caused it: an event, a timer or a rebuild, as in published changes.';
comment on column change_log.correction is 'Whether it amends what was published before.';
comment on column change_log.recorded_at is 'When it was written.';
comment on column change_log.data is 'What else it changes in the client. Null: nothing.';
comment on column change_log.corrected_by is
    'What made this correction necessary: a late event or a rebuild, as in published changes. Null: it is no correction.';

create view clients_now as
select k.partner, k.client, c.name, c.name_key, c.link, c.service, c.access, c.as_of, c.version, c.doc
from clients c
left join client_keys k on k.number = c.client;
comment on view clients_now is 'The state of each client. Timers that have become due since `as_of` may not have fired yet.';
comment on column clients_now.partner is 'The partner''s id.';
comment on column clients_now.client is 'The client''s id.';
comment on column clients_now.name is 'The partner''s name for the client.';
comment on column clients_now.name_key is 'The form of the name that comparisons use. Null: this client holds no name.';
comment on column clients_now.link is 'The status of the link. Null: the client was never added.';
comment on column clients_now.service is 'The status of the service. Null: the client was never added.';
comment on column clients_now.access is 'The status of the partner''s access.';
comment on column clients_now.as_of is 'The moment that the state is computed for.';
comment on column clients_now.version is 'The number of times that the row was written.';
comment on column clients_now.doc is 'The client''s document: its state and its deadlines.';

create view deadlines_now as
select k.partner, k.client, w.word as sweep, d.due_at
from deadlines d
left join client_keys k on k.number = d.client
left join words w on w.number = d.sweep;
comment on view deadlines_now is 'The deadlines of each client.';
comment on column deadlines_now.partner is 'The partner''s id.';
comment on column deadlines_now.client is 'The client''s id.';
comment on column deadlines_now.sweep is 'The sweep.';
comment on column deadlines_now.due_at is 'The earliest moment at which the sweep may have to fire a timer of this client.';

create view subscriptions as
select c.partner, c.client, s.key as id,
       s.value -> 'state' ->> 'status' as status,
       s.value ->> 'managed_by' as managed_by,
       s.value ->> 'plan' as plan,
       (s.value ->> 'paid_until')::timestamptz as paid_until,
       (s.value -> 'state' ->> 'ended_at')::timestamptz as ended_at
from clients_now c
cross join lateral json_each(c.doc -> 'client' -> 'subscriptions') s;
comment on view subscriptions is 'The subscriptions of each client.';
comment on column subscriptions.partner is 'The partner''s id.';
comment on column subscriptions.client is 'The client''s id.';
comment on column subscriptions.id is 'The subscription''s id.';
comment on column subscriptions.status is '`prepared`, `active` or `ended`.';
comment on column subscriptions.managed_by is 'Who manages and pays for it: `partner` or `client`.';
comment on column subscriptions.plan is 'Its plan.';
comment on column subscriptions.paid_until is 'The end of the period that is paid for.';
comment on column subscriptions.ended_at is 'When it ended.';

create view assignments as
select c.partner, c.client, a.key as id, a.value #>> '{}' as service
from clients_now c
cross join lateral json_each(c.doc -> 'client' -> 'assignments') a;
comment on view assignments is 'The assignments of each client.';
comment on column assignments.partner is 'The partner''s id.';
comment on column assignments.client is 'The client''s id.';
comment on column assignments.id is 'The assignment''s id.';
comment on column assignments.service is 'The service that the client is assigned to.';

create view report_schedules as
select c.partner, c.client, r.value as id
from clients_now c
cross join lateral json_array_elements_text(c.doc -> 'client' -> 'report_schedules') r;
comment on view report_schedules is 'The report schedules of each client.';
comment on column report_schedules.partner is 'The partner''s id.';
comment on column report_schedules.client is 'The client''s id.';
comment on column report_schedules.id is 'The report schedule''s id.';

create view margin_rules as
select c.partner, c.client, r.value as id
from clients_now c
cross join lateral json_array_elements_text(c.doc -> 'client' -> 'margin_rules') r;
comment on view margin_rules is 'The margin rules of each client.';
comment on column margin_rules.partner is 'The partner''s id.';
comment on column margin_rules.client is 'The client''s id.';
comment on column margin_rules.id is 'The margin rule''s id.';

create view statement_lines as
select k.partner, k.client,
       to_char(s.stated_in / 100, 'FM0000') || '-' || to_char(s.stated_in % 100, 'FM00') as statement,
       to_char(s.month / 100, 'FM0000') || '-' || to_char(s.month % 100, 'FM00') as month,
       s.billable - lag(s.billable, 1, 0) over earlier as billable_days,
       s.commission - lag(s.commission, 1, 0) over earlier as commission_days,
       s.status_credit - lag(s.status_credit, 1, 0) over earlier as status_credit_days,
       s.access - lag(s.access, 1, 0) over earlier as access_days,
       nullif(s.causes, '')::json as causes
from (
    select client, month, stated_in, causes,
           length(replace(billable::bit(31)::text, '0', '')) as billable,
           length(replace(commission::bit(31)::text, '0', '')) as commission,
           length(replace(status_credit::bit(31)::text, '0', '')) as status_credit,
           length(replace(access::bit(31)::text, '0', '')) as access
    from statement_days
) s
join closings c on c.month = s.stated_in and c.status = 'closed'
left join client_keys k on k.number = s.client
window earlier as (partition by s.client, s.month order by s.stated_in);
comment on view statement_lines is
    'The lines of the statements of closed months. The days of a line whose `month` is before its `statement` adjust what was '
    'stated before: the sum of all lines of a month is what is known of it now.';
comment on column statement_lines.partner is 'The partner''s id.';
comment on column statement_lines.client is 'The client''s id.';
comment on column statement_lines.statement is 'The closed month whose statement has the line, for example `2026-10`.';
comment on column statement_lines.month is 'The month of the days. If it is an earlier one, the line is an adjustment.';
comment on column statement_lines.billable_days is 'Days on which the client was billable; in an adjustment, the difference.';
comment on column statement_lines.commission_days is 'Days of commission, likewise.';
comment on column statement_lines.status_credit_days is 'Days of status credit, likewise.';
comment on column statement_lines.access_days is 'Days on which access was enabled, likewise.';
comment on column statement_lines.causes is 'The late events or rebuilds that made an adjustment necessary. Null: none is known, or it is no adjustment.';

create view closed_months as
select to_char(month / 100, 'FM0000') || '-' || to_char(month % 100, 'FM00') as month,
       closed_by, started_at, closed_at, statements, adjustments
from closings
where status = 'closed';
comment on view closed_months is 'The months that were closed, by whom and when.';
comment on column closed_months.month is 'The month, for example `2026-10`.';
comment on column closed_months.closed_by is 'Who closed it.';
comment on column closed_months.started_at is 'When the closing began.';
comment on column closed_months.closed_at is 'When it ended.';
comment on column closed_months.statements is 'Clients with a day in the month.';
comment on column closed_months.adjustments is 'Adjustments of earlier months that are stated with it.';

create view access_log as
select k.partner, k.client, a.time,
       case when a.by_staff then 'staff' else 'partner' end as entered_by,
       case when a.user_id <> '' then substr(a.user_id, 2) end as user_id,
       nullif(substr(a.actor, strpos(a.actor, ':') + 1), '') as actor,
       nullif(split_part(a.actor, ':', 1), '') as actorkind,
       s.source, ref_id(a.ref) as id,
       r.word as reason
from accesses a
left join events e on e.client = a.client and e.time = a.time and e.ref = a.ref
left join client_keys k on k.number = a.client
left join sources s on s.number = ref_source(a.ref)
left join words r on r.number = coalesce(e.reason, a.reason);
comment on view access_log is 'The access log: who entered which account when.';
comment on column access_log.partner is 'The partner''s id.';
comment on column access_log.client is 'The client''s id.';
comment on column access_log.time is 'When somebody entered, according to the source.';
comment on column access_log.entered_by is '`partner` or `staff`.';
comment on column access_log.user_id is 'The user who entered, as the source says. Null: it did not say.';
comment on column access_log.actor is 'Who caused the event, an id of the source''s own. Null: it did not say.';
comment on column access_log.actorkind is '`partner`, `customer`, `back_office` or `system`. Null: it did not say.';
comment on column access_log.source is 'The source. With the id it identifies the event.';
comment on column access_log.id is 'The id.';
comment on column access_log.reason is 'Why the event is refused. Null: it is applied.';
