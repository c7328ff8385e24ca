#!/usr/bin/env bash
# Publishes events over HTTP, from an outbox in SQLite:
#
#     publish.sh < events.ndjson     puts events, one CloudEvent in JSON per line, into the outbox, and sends what is in it
#     publish.sh < /dev/null         sends what an earlier run has left
#
# An app writes to its outbox in the transaction in which it changes its own data. An event is removed when Tenure has stored it, so
# it may be sent twice but never zero times. Tenure recognizes the second one by its `source` and `id`. Needs jq and sqlite3.
#
# Environment: API_URL (default: http://localhost:8080), API_TOKEN (if Tenure has one), OUTBOX (the file).
set -euo pipefail
url=${API_URL:-http://localhost:8080}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

outbox() {
    sqlite3 -bail -cmd '.timeout 5000' "${OUTBOX:-outbox.db}" "$1"
}

# Prints the status of the response; 000 without one. The body is in $folder/answer.
post() {
    : >"$folder/answer"
    curl -sS --max-time 60 -o "$folder/answer" -w '%{http_code}' "$url/v1/events" \
        -H "authorization: Bearer ${API_TOKEN:-}" \
        -H 'content-type: application/cloudevents+json' --data-binary "@$folder/event" || true
}

jq -Rn '[inputs]' >"$folder/events"
outbox "
    create table if not exists outbox (number integer primary key autoincrement, event text not null, rejected text);
    insert into outbox (event)
    select value from json_each(cast(readfile('$folder/events') as text)) where trim(value) <> '' order by key;"

seconds=1
while number=$(outbox 'select min(number) from outbox where rejected is null') && [[ -n $number ]]; do
    outbox "select event from outbox where number = $number" >"$folder/event"
    status=$(post)
    case $status in
        20[02]) # One of: applied, duplicate, refused (with a code), deferred. Each is stored.
            outbox "delete from outbox where number = $number"
            cat "$folder/answer" && echo
            seconds=1
            ;;
        422) # Not an event, or the id of another one. It is in `tenure dead` too. Sending it again does not help.
            outbox "update outbox set rejected = cast(readfile('$folder/answer') as text) where number = $number"
            echo "rejected event $number: $(cat "$folder/answer")" >&2
            ;;
        4*) # For example, a wrong token. The events stay in the outbox.
            echo "stopped at event $number: status $status $(cat "$folder/answer")" >&2
            exit 1
            ;;
        *)
            echo "not published yet, next attempt in $seconds s: status $status $(cat "$folder/answer")" >&2
            sleep "$seconds"
            seconds=$((seconds < 30 ? seconds * 2 : 30))
            ;;
    esac
done
