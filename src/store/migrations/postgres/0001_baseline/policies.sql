-- Policies.

create table policies (
    effective_from timestamptz primary key,
    policy         json not null
);
comment on table policies is 'Every recorded policy.';
comment on column policies.effective_from is 'The moment from which it is effective.';
comment on column policies.policy is 'Its durations and thresholds.';

create table deadline_backfill (
    only_row    boolean primary key default true check (only_row),
    policy_from timestamptz not null,
    partner     text collate "C",
    client      text collate "C"
);
comment on table deadline_backfill is 'The policy whose deadlines are still being computed. At most one row.';
comment on column deadline_backfill.only_row is 'Always true.';
comment on column deadline_backfill.policy_from is 'The moment from which the policy is effective.';
comment on column deadline_backfill.partner is 'The partner of the last client whose deadlines are computed. Null: none are yet.';
comment on column deadline_backfill.client is 'The last client whose deadlines are computed. Null: none are yet.';
