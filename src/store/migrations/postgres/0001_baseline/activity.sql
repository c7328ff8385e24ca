-- Events and changes per minute.

create table activity (
    minute      timestamptz not null,
    worker      bigint not null,
    applied     bigint not null,
    duplicate   bigint not null,
    refused     bigint not null,
    dead        bigint not null,
    deferred    bigint not null,
    by_event    bigint not null,
    by_timer    bigint not null,
    corrections bigint not null,
    -- The last hour or day of all workers is read together.
    primary key (minute, worker)
);
comment on table activity is
    'Events and changes per minute. A worker that has counted something writes its rows within two seconds, and removes all that '
    'are older than a day.';
comment on column activity.minute is 'The beginning of the minute.';
comment on column activity.worker is 'A random number, which each start of a worker chooses.';
comment on column activity.applied is 'Events that were applied.';
comment on column activity.duplicate is 'Events that repeated an earlier one.';
comment on column activity.refused is 'Events that were refused.';
comment on column activity.dead is 'Messages that became dead letters.';
comment on column activity.deferred is 'Events ahead of the clock, which wait for their time.';
comment on column activity.by_event is 'Changes that an event caused.';
comment on column activity.by_timer is 'Changes that a timer caused.';
comment on column activity.corrections is 'Changes that correct earlier ones, whatever caused them.';
