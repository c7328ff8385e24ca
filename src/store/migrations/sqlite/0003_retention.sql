-- Journal lines recorded before this moment may be gone: they were published, and then pruned. Null: none is.
alter table relay add column pruned_before integer;

create index dead_letters_settled on dead_letters (settled_at) where status <> 'open';

-- Length of the body as it came; null for letters from before, which are whole.
alter table dead_letters add column bytes integer;
-- Until when somebody who redrives it has it in hand.
alter table dead_letters add column claimed_until integer;
-- When it was last redriven, and what came of that, in words.
alter table dead_letters add column redriven_at integer;
alter table dead_letters add column came_of text;
