-- Endpoints of webhooks (docs/webhooks.md), and how far each has received the journal.

create table webhook_endpoints (
    name            text primary key,
    origin          text not null,
    url             text not null,
    filter          text not null,
    secrets         text not null,
    status          text not null,
    why             text not null,
    revision        bigint not null,
    created_at      timestamptz not null,
    epoch           bigint not null,
    xid             bigint not null,
    seq             bigint not null,
    recorded_at     timestamptz not null,
    failing_since   timestamptz,
    last_attempt_at timestamptz,
    last_outcome    text not null,
    delivered_at    timestamptz
);
comment on table webhook_endpoints is 'The endpoints of webhooks, and how far each has received the journal.';
comment on column webhook_endpoints.name is 'The name of the endpoint.';
comment on column webhook_endpoints.origin is
    '`command`: `tenure webhook add` added it. `settings`: the settings have it, with its secrets.';
comment on column webhook_endpoints.url is 'Where changes are sent.';
comment on column webhook_endpoints.filter is 'Which changes are sent, as JSON: `partner`, `client` and `types`.';
comment on column webhook_endpoints.secrets is
    'The secrets that sign, as a JSON list, the newest first: `secret`, and `until` for one that was replaced. In plain text, '
    'because a signature needs it. Empty for an endpoint of the settings.';
comment on column webhook_endpoints.status is '`active`, `paused` or `disabled`.';
comment on column webhook_endpoints.why is 'Why it is disabled. Empty: it is not.';
comment on column webhook_endpoints.revision is
    'Rises with each change of the columns before it, and when the cursor is set. A worker that delivers for an earlier revision '
    'records nothing.';
comment on column webhook_endpoints.created_at is 'When it was added.';
comment on column webhook_endpoints.epoch is 'The epoch of the cursor.';
comment on column webhook_endpoints.xid is
    'The cursor: the transaction of the last line of the journal up to which the endpoint has received everything. 0 on SQLite.';
comment on column webhook_endpoints.seq is 'The cursor: the number of that line.';
comment on column webhook_endpoints.recorded_at is 'The cursor: when that line was recorded.';
comment on column webhook_endpoints.failing_since is
    'The first failed attempt at a change that still waits. Null: none has failed.';
comment on column webhook_endpoints.last_attempt_at is 'When the last attempt ended. Null: there was none.';
comment on column webhook_endpoints.last_outcome is 'The outcome of that attempt, for people. Empty: there was none.';
comment on column webhook_endpoints.delivered_at is 'When the last change was delivered. Null: none was.';
