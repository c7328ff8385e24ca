-- How far each lane of the broker has come: everything that was in its queue before the watermark has been taken.
create table lanes (
    -- The queue.
    lane        text collate "C" primary key,
    -- Null: not known yet.
    watermark   timestamptz,
    recorded_at timestamptz not null
);

-- Sweeps that do not run: paused by a person, or stopped by the breaker.
create table sweep_halts (
    sweep text collate "C" not null,
    kind  text collate "C" not null check (kind in ('paused', 'tripped')),
    at    timestamptz not null,
    why   text not null,
    primary key (sweep, kind)
);

-- The policy whose deadlines are still being computed, and the client after which to go on.
create table arming (
    only_row    boolean primary key default true check (only_row),
    policy_from timestamptz not null,
    partner     text collate "C",
    client      text collate "C"
);

-- The moment up to which a run swept.
alter table sweep_runs add column upto timestamptz;
-- A run is done when one worker has seen it through: nobody has to be counted.
alter table sweep_runs drop column workers;
