-- The workers that share the store.

create table workers (
    name           text primary key,
    host           text not null,
    version        text not null,
    started_at     integer not null,
    seen_at        integer not null,
    lanes          text not null,
    leads_relay    integer not null,
    leads_webhooks integer not null
) strict, without rowid;
