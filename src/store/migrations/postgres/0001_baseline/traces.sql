-- The trace contexts of events, for the worker that publishes their changes. Written only while traces are on.

create table event_traces (
    received_at timestamptz not null,
    client      integer not null,
    ref         bytea not null,
    traceparent text not null,
    tracestate  text not null,
    primary key (client, ref)
);
-- Retention removes the oldest rows.
create index event_traces_by_time on event_traces (received_at);
comment on table event_traces is
    'The trace contexts of events, for the worker that publishes their changes. Written only while traces are on. Rows are removed '
    'after an hour.';
comment on column event_traces.received_at is 'When the event was stored.';
comment on column event_traces.client is 'The number of the client.';
comment on column event_traces.ref is 'The event, as `events.ref`.';
comment on column event_traces.traceparent is 'The span of the event in Tenure, as W3C Trace Context writes it.';
comment on column event_traces.tracestate is 'What tracing systems add to it. Empty: nothing.';
