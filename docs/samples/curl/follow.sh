#!/usr/bin/env bash
# Follows the changes over HTTP by long polling, and prints one change per line:
#
#     follow.sh                      every change since the beginning, then each new one
#     follow.sh 'type=access.*'      only some: see docs/subscribing.md
#
# The cursor is in the file `cursor`. Start the script again, and it continues after the last change that it has printed. After a
# crash it may print some of them again: skip a change whose `id` is not greater than the last one of its client. Needs jq.
#
# Environment: API_URL, API_TOKEN, CURSOR (the file).
set -euo pipefail
url=${API_URL:-http://localhost:8080}
file=${CURSOR:-cursor}
filter=${1:+&$1}
seconds=1

while true; do
    cursor=$(cat "$file" 2>/dev/null || true)
    # `wait` makes the response wait for the next change. Without one, the page is empty after that time.
    page=$(curl -sS --max-time 60 -w '\n%{http_code}' "$url/v1/changes?wait=20s&limit=100${cursor:+&after=$cursor}$filter" \
        -H "authorization: Bearer ${API_TOKEN:-}" || true)
    status=${page##*$'\n'}
    page=${page%$'\n'*}
    case $status in
        200)
            jq -c '.changes[]' <<<"$page" # Process them here. The cursor moves on when this has succeeded.
            jq -r '.next' <<<"$page" >"$file.new"
            mv "$file.new" "$file"
            seconds=1
            ;;
        4*) # 410: the place is gone. Begin again with GET /v1/snapshot. Others: the request is wrong.
            echo "stopped: $page" >&2
            exit 1
            ;;
        *)
            echo "next attempt in $seconds s: $page" >&2
            sleep "$seconds"
            seconds=$((seconds < 30 ? seconds * 2 : 30))
            ;;
    esac
done
