-- The source of a dead letter, by which people group them. Older writers leave it null.

alter table dead_letters add column source text;
