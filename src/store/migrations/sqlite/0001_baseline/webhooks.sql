-- Endpoints of webhooks (docs/webhooks.md), and how far each has received the journal.

create table webhook_endpoints (
    name            text primary key,
    origin          text not null,
    url             text not null,
    filter          text not null,
    secrets         text not null,
    status          text not null,
    why             text not null,
    revision        integer not null,
    created_at      integer not null,
    epoch           integer not null,
    xid             integer not null,
    seq             integer not null,
    recorded_at     integer not null,
    failing_since   integer,
    last_attempt_at integer,
    last_outcome    text not null,
    delivered_at    integer
) strict;
