-- What operators do: the audit log, and the sessions of browsers.

create table audit_log (
    number     integer primary key autoincrement,
    at         integer not null,
    who        text not null,
    how        text not null,
    action     text not null,
    target     text not null,
    reason     text not null,
    details    text not null,
    request_id text not null
) strict;
-- Retention removes the oldest entries.
create index audit_log_by_time on audit_log (at, number);
-- Finds the last entry about something, such as the pause of a sweep.
create index audit_log_by_target on audit_log (target, action, number);

create table browser_sessions (
    digest       blob primary key,
    token        text not null,
    token_digest blob not null,
    created_at   integer not null,
    seen_at      integer not null,
    expires_at   integer not null
) strict, without rowid;
-- Ends all sessions of a token.
create index browser_sessions_by_token on browser_sessions (token);
