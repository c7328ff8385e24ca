-- A stretch of time in which a touch renews this client's access and does nothing else, under so many recorded
-- policies: the client need not be read for it. Null: none is known.
alter table touches add column quiet_after integer;
alter table touches add column quiet_before integer;
alter table touches add column quiet_policies integer;
