-- How many events and changes each minute brought.

create table activity (
    minute  timestamptz not null,
    process bigint not null,
    counts  text not null,
    -- The last hour or day of all processes is read together.
    primary key (minute, process)
);
comment on table activity is
    'How many events and changes each minute of the last day brought. Workers write them every two seconds.';
comment on column activity.minute is 'The beginning of the minute.';
comment on column activity.process is 'A random number of the process that counted.';
comment on column activity.counts is
    'The numbers of events by outcome and of changes by cause, as a JSON object.';
