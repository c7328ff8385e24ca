-- The last line of the journal that was pruned: a subscriber that has it misses nothing.

alter table relay add column pruned_seq integer;
alter table relay add column pruned_recorded_at integer;
alter table relay add column pruned_with integer;
