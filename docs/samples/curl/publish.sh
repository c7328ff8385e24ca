#!/usr/bin/env bash
# Publishes the events in a folder over HTTP, in the order of their names:
#
#     publish.sh outbox
#
# The folder is the outbox of an app. Each file has one CloudEvent in JSON. Write a file under a name that does not end in .json,
# and rename it when it is complete. It is removed when Tenure has stored the event, so an event may be sent twice but never zero
# times. Tenure recognizes the second one by its `source` and `id`.
#
# Environment: API_URL (default: http://localhost:8080), API_TOKEN (if Tenure has one).
set -euo pipefail
outbox=${1:?the folder with the events}
url=${API_URL:-http://localhost:8080}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# Prints the status of the response; 000 without one. The body is in $answer.
post() {
    curl -sS --max-time 60 -o "$answer" -w '%{http_code}' "$url/v1/events" \
        -H "authorization: Bearer ${API_TOKEN:-}" \
        -H 'content-type: application/cloudevents+json' --data-binary "@$1" || true
}

shopt -s nullglob
for event in "$outbox"/*.json; do
    seconds=1
    until status=$(post "$event") && [[ $status == 20[02] ]]; do
        case $status in
            422) # Not an event, or the id of another one. It is in `tenure dead` too. Sending it again does not help.
                mv "$event" "${event%.json}.rejected"
                echo "rejected $event: $(cat "$answer")" >&2
                continue 2
                ;;
            4*) # For example, a wrong token. The events stay here.
                echo "stopped at $event: status $status $(cat "$answer")" >&2
                exit 1
                ;;
        esac
        echo "not published yet, next attempt in $seconds s: status $status $(cat "$answer")" >&2
        sleep "$seconds"
        seconds=$((seconds < 30 ? seconds * 2 : 30))
    done
    # One of: applied, duplicate, refused (with a code), deferred. Each is stored.
    cat "$answer" && echo
    rm "$event"
done
