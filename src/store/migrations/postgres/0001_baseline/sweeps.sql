-- Sweeps.

create table sweep_runs (
    id           bigint generated always as identity primary key,
    sweep        text not null,
    scheduled_at timestamptz not null,
    started_at   timestamptz not null,
    finished_at  timestamptz,
    upto         timestamptz,
    status       text not null check (status in ('running', 'done', 'failed', 'held_back', 'tripped', 'stopped')),
    examined     bigint not null default 0,
    changed      bigint not null default 0,
    changes      bigint not null default 0,
    failed       bigint not null default 0,
    error        text,
    worker       text not null,
    -- Workers that start a sweep at the same tick share one run.
    unique (sweep, scheduled_at)
);
comment on table sweep_runs is 'The runs of sweeps. A run is done when one worker has completed it.';
comment on column sweep_runs.id is 'Its number.';
comment on column sweep_runs.sweep is 'The sweep.';
comment on column sweep_runs.scheduled_at is 'The cron tick of the run.';
comment on column sweep_runs.started_at is 'When the first worker started it.';
comment on column sweep_runs.finished_at is 'When the last worker ended its part.';
comment on column sweep_runs.upto is 'It swept deadlines up to this moment.';
comment on column sweep_runs.status is '`running`, `done`, `failed`, `held_back`, `tripped` or `stopped`.';
comment on column sweep_runs.examined is 'Clients examined.';
comment on column sweep_runs.changed is 'Clients for which a timer fired.';
comment on column sweep_runs.changes is 'Lines written to the journal.';
comment on column sweep_runs.failed is 'Clients that could not be swept.';
comment on column sweep_runs.error is 'Why the run is not done.';
comment on column sweep_runs.worker is 'The worker that started it.';

create table sweep_chunks (
    run bigint not null references sweep_runs on delete cascade,
    xid bigint not null,
    primary key (run, xid)
);
comment on table sweep_chunks is
    'The transactions in which runs of sweeps changed clients, so that the lines of a run are found in the journal.';
comment on column sweep_chunks.run is 'The number of the run.';
comment on column sweep_chunks.xid is 'The transaction, numbered as `journal.xid`.';

create table sweep_halts (
    sweep text collate "C" not null,
    kind  text collate "C" not null check (kind in ('paused', 'tripped')),
    at    timestamptz not null,
    why   text not null,
    primary key (sweep, kind)
);
comment on table sweep_halts is 'Sweeps that do not run: paused by a person, or tripped by the breaker.';
comment on column sweep_halts.sweep is 'The sweep.';
comment on column sweep_halts.kind is '`paused` or `tripped`.';
comment on column sweep_halts.at is 'When it was paused or tripped.';
comment on column sweep_halts.why is 'The reason.';
