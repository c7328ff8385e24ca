-- The trace contexts of events, for the worker that publishes their changes. Written only while traces are on.

create table event_traces (
    client      integer not null,
    -- The number of the source of the event.
    source      integer not null,
    -- The id of the event, as in `events`.
    id          any not null,
    received_at integer not null,
    traceparent text not null,
    tracestate  text not null,
    primary key (client, source, id)
) strict, without rowid;
-- Retention removes the oldest rows.
create index event_traces_by_time on event_traces (received_at);
