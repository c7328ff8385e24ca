-- The workers that share the store.

create table workers (
    name           text collate "C" primary key,
    host           text not null,
    version        text not null,
    started_at     timestamptz not null,
    seen_at        timestamptz not null,
    lanes          text not null,
    leads_relay    boolean not null,
    leads_webhooks boolean not null
);
comment on table workers is
    'The workers that share the store. Each writes its row every ten seconds, and removes it when it stops.';
comment on column workers.name is 'The name of the worker: its host, and a random part.';
comment on column workers.host is 'The name of its host, as in `sweep_runs.worker`.';
comment on column workers.version is 'The version of the program.';
comment on column workers.started_at is 'When it was ready.';
comment on column workers.seen_at is
    'When it last wrote the row. A worker that was not seen for a minute has ended without stopping, or cannot reach the store.';
comment on column workers.lanes is 'The lanes that it consumes, as a JSON list.';
comment on column workers.leads_relay is 'Whether it publishes changes over RabbitMQ.';
comment on column workers.leads_webhooks is 'Whether it delivers changes to the endpoints of webhooks.';
