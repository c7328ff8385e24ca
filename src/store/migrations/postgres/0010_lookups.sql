-- Finds clients of any partner by the beginning of their ids and names, and the last entry of the audit log about something.

create index client_keys_by_client on client_keys (client, partner);
create index clients_by_name on clients (name_key, partner) where name_key is not null;
create index audit_log_by_target on audit_log (target, action, number);
