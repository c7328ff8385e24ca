-- What operators do: the audit log, and the sessions of browsers.

create table audit_log (
    number     bigint generated always as identity primary key,
    at         timestamptz not null,
    who        text not null,
    how        text not null,
    action     text not null,
    target     text not null,
    reason     text not null,
    details    text not null,
    request_id text not null
);
-- Retention removes the oldest entries.
create index audit_log_by_time on audit_log (at, number);
-- Finds the last entry about something, such as the pause of a sweep.
create index audit_log_by_target on audit_log (target, action, number);
comment on table audit_log is 'The audit log: what operators did. The setting `audit.keep` says for how long entries are stored.';
comment on column audit_log.number is 'Its number.';
comment on column audit_log.at is 'When it was done.';
comment on column audit_log.who is 'The name of the token, or the user of the system that ran the command; `settings` for those.';
comment on column audit_log.how is '`console`, `http` or `cli`, or `settings` for what a worker changes because its settings changed.';
comment on column audit_log.action is 'What was done, such as `sweep.pause`.';
comment on column audit_log.target is 'What it was done to, such as the name of a sweep. Empty: it has no target of its own.';
comment on column audit_log.reason is 'Why, as the operator says. Empty: no reason was given.';
comment on column audit_log.details is 'More about it, as a JSON object.';
comment on column audit_log.request_id is 'The `x-request-id` of the request. Empty: it had none.';

create table browser_sessions (
    digest       bytea primary key,
    token        text not null,
    token_digest bytea not null,
    created_at   timestamptz not null,
    seen_at      timestamptz not null,
    expires_at   timestamptz not null
);
-- Ends all sessions of a token.
create index browser_sessions_by_token on browser_sessions (token);
comment on table browser_sessions is 'The browsers that are signed in to the console.';
comment on column browser_sessions.digest is 'The SHA-256 of the cookie, which is stored nowhere.';
comment on column browser_sessions.token is 'The name of the token with which the browser signed in.';
comment on column browser_sessions.token_digest is
    'A digest of that token. A session ends when the token of this name is changed or removed.';
comment on column browser_sessions.created_at is 'When it signed in.';
comment on column browser_sessions.seen_at is 'When it was last used, to within a minute.';
comment on column browser_sessions.expires_at is 'When it ends, however much it is used.';
