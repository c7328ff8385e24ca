-- How far each lane of the broker has come: everything that was in its queue before the watermark has been taken.
create table lanes (
    -- The queue.
    lane        text primary key,
    -- Null: not known yet.
    watermark   integer,
    recorded_at integer not null
) strict;

-- Sweeps that do not run: paused by a person, or stopped by the breaker.
create table sweep_halts (
    sweep text not null,
    kind  text not null check (kind in ('paused', 'tripped')),
    at    integer not null,
    why   text not null,
    primary key (sweep, kind)
) strict;

-- The policy whose deadlines are still being computed, and the client after which to go on.
create table arming (
    only_row    integer primary key default 1 check (only_row = 1),
    policy_from integer not null,
    partner     text,
    client      text
) strict;

-- The moment up to which a run swept.
alter table sweep_runs add column upto integer;
-- A run is done when one worker has seen it through: nobody has to be counted.
alter table sweep_runs drop column workers;
