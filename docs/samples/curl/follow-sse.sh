#!/usr/bin/env bash
# Follows the changes over HTTP as server-sent events, and prints one change per line:
#
#     follow-sse.sh                      every change since the beginning, then each new one
#     follow-sse.sh 'type=access.*'      only some: see docs/subscribing.md
#
# The cursor is in the file `cursor`. Start the script again, and it continues after the last change that it has printed. After a
# crash it may print one of them again: skip a change whose `id` is not greater than the last one of its client.
#
# Environment: API_URL, API_TOKEN, CURSOR (the file).
set -euo pipefail
url=${API_URL:-http://localhost:8080}
file=${CURSOR:-cursor}
seconds=1

# The stream has lines `id: CURSOR`, `event: NAME` and `data: TEXT`. An empty line ends an event.
read_events() {
    local line id='' name='' data='' error=''
    while IFS= read -r line; do
        case $line in
            'id: '*) id=${line#id: } ;;
            'event: '*) name=${line#event: } ;;
            'data: '*) data=${line#data: } ;;
            '{'*) error=$line ;; # The response is no stream.
            'status: 4'*) # 410: the place is gone. Begin again with GET /v1/snapshot. Others: the request is wrong.
                echo "stopped: $error" >&2
                exit 1
                ;;
            '')
                if [[ $name == gone ]]; then # The place is gone. Begin again with GET /v1/snapshot.
                    echo "stopped: $data" >&2
                    exit 1
                fi
                if [[ -n $data ]]; then
                    printf '%s\n' "$data" # Process it here. The cursor moves on when this has succeeded.
                fi
                if [[ -n $id ]]; then
                    printf '%s\n' "$id" >"$file.new"
                    mv "$file.new" "$file"
                fi
                id='' name='' data='' seconds=1
                ;;
        esac
    done
}

while true; do
    cursor=$(cat "$file" 2>/dev/null || true)
    # Every 15 seconds without a change, the stream has a comment: less than 1 byte in 60 seconds is a lost connection.
    read_events < <(curl -sS -N -w '\nstatus: %{http_code}\n' --speed-time 60 --speed-limit 1 "$url/v1/changes${1:+?$1}" \
        -H 'accept: text/event-stream' -H "authorization: Bearer ${API_TOKEN:-}" \
        ${cursor:+-H "last-event-id: $cursor"})
    echo "disconnected, next attempt in $seconds s" >&2
    sleep "$seconds"
    seconds=$((seconds < 30 ? seconds * 2 : 30))
done
