#!/usr/bin/env bash
# Follows the changes over HTTP by long polling, keeps a read model in SQLite, and prints each new change on a line:
#
#     follow.sh                      every change since the beginning, then each new one
#     follow.sh 'type=access.*'      only some: see docs/subscribing.md
#
#     sqlite3 read-model.db 'select * from clients'
#
# The changes of a page and the cursor after it are written in one transaction. So after a crash the script continues where its read
# model ends, and a change that arrives again has no effect. Needs jq and sqlite3.
#
# Environment: API_URL, API_TOKEN, READ_MODEL (the file).
set -euo pipefail
url=${API_URL:-http://localhost:8080}
filter=${1:+&$1}
seconds=1
page=$(mktemp)
trap 'rm -f "$page"' EXIT

read_model() {
    sqlite3 -bail -cmd '.timeout 5000' "${READ_MODEL:-read-model.db}" "$1"
}

# `clients` has the newest change of each kind. The ids of a client's changes increase.
read_model "
    create table if not exists changes (
        id text primary key, client text not null, type text not null, value text, body text not null
    );
    create index if not exists changes_of_client on changes (client, type, id);
    create table if not exists place (number integer primary key check (number = 1), cursor text not null);
    create view if not exists clients as
    select client,
        (select value from changes where client = one.client and type in ('client.named', 'client.renamed')
         order by id desc limit 1) as name,
        (select value from changes where client = one.client and type like 'link.%' order by id desc limit 1) as link,
        max(id) as last_change
    from changes as one
    group by client;"

while true; do
    cursor=$(read_model 'select cursor from place')
    # `wait` makes the response wait for the next change. Without one, the page is empty after that time.
    status=$(curl -sS --max-time 60 -o "$page" -w '%{http_code}' \
        "$url/v1/changes?wait=20s&limit=100${cursor:+&after=$cursor}$filter" \
        -H "authorization: Bearer ${API_TOKEN:-}" || true)
    case $status in
        200)
            read_model "
                begin immediate;
                insert into changes
                select value ->> 'id', value ->> 'subject', value ->> 'type', value -> 'data' ->> 'to', value
                from json_each(cast(readfile('$page') as text), '\$.changes')
                where true
                order by key
                on conflict do nothing
                returning body;
                insert or replace into place
                values (1, cast(readfile('$page') as text) ->> 'next');
                commit;"
            seconds=1
            ;;
        4*) # 410: the place is gone. Begin again with GET /v1/snapshot. Others: the request is wrong.
            echo "stopped: $(cat "$page")" >&2
            exit 1
            ;;
        *)
            echo "next attempt in $seconds s: status $status" >&2
            sleep "$seconds"
            seconds=$((seconds < 30 ? seconds * 2 : 30))
            ;;
    esac
done
