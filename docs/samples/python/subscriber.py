"""Follows the changes that Tenure publishes, and has the clients in a read model of its own.

    python subscriber.py

The read model is in `read-model.db`. It begins with a snapshot, and then applies each change once: the change and the id of the
last change of its client are written in one transaction, and a message is acknowledged after that.

Environment: AMQP_URL, API_URL and API_TOKEN (for the snapshot), QUEUE, READ_MODEL. The defaults are for this machine.
"""

import json
import os
import random
import sqlite3
import sys
import time
import urllib.request

import pika
from cloudevents.core.formats.json import JSONFormat
from pika.exceptions import AMQPError

AMQP_URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
API_URL = os.environ.get("API_URL", "http://localhost:8080")
API_TOKEN = os.environ.get("API_TOKEN", "")
QUEUE = os.environ.get("QUEUE", "sample.python")  # One queue per read model: two readers of a queue get half of it each.
READ_MODEL = os.environ.get("READ_MODEL", "read-model.db")
EXCHANGE = "tenure.changes"
TYPES = ["client.*", "link.*", "access.*", "billing.*"]

SCHEMA = """
    pragma journal_mode = wal;
    create table if not exists clients (
        client text primary key, name text, link text, access text not null default 'none',
        billable integer not null default 0,
        last_change text not null -- The id of the newest change that this row includes.
    );
    create table if not exists corrections (change text primary key, client text not null, why text not null);
    create table if not exists snapshots (cursor text not null);
"""


# --- The read model -----------------------------------------------------------------------------------------------------


def apply(db, change):
    """Applies a change once, however often it arrives."""
    client, id, kind, data = change.get_subject(), change.get_id(), change.get_type(), change.get_data()
    with db:  # One transaction: the change, and that it is applied.
        known = db.execute("select last_change from clients where client = ?", (client,)).fetchone()
        if known and id <= known[0]:
            return  # A repetition, or part of the snapshot. The ids of a client's changes increase.
        db.execute(
            "insert into clients (client, last_change) values (?, ?)"
            " on conflict do update set last_change = excluded.last_change",
            (client, id),
        )
        for column, value in new_values(kind, data).items():
            db.execute(f"update clients set {column} = ? where client = ?", (value, client))
        if data["correction"]:
            # The new state is right. What you did because of the old one, such as sending a mail, may not have been.
            why = json.dumps(data["corrected_by"])
            db.execute("insert into corrections values (?, ?, ?)", (id, client, f"{kind} because of {why}"))
    print(f"{client}: {kind}", flush=True)


def new_values(kind, data):
    """What a change changes in a row. A type that we do not know, or do not need, changes nothing."""
    match kind.split("."):
        case ["client", "named" | "renamed"]:
            return {"name": data["to"]}
        case ["link", status]:
            return {"link": status}
        case ["access", ("none" | "enabled" | "disabled" | "expired") as status]:
            return {"access": status}
        case ["billing", action]:
            return {"billable": action == "started"}
    return {}


def begin_with_snapshot(db):
    """Loads every client as it is. The queue has been there for longer, so it has every change that comes after."""
    request = urllib.request.Request(f"{API_URL}/v1/snapshot", headers={"authorization": f"Bearer {API_TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as lines, db:
        for line in map(json.loads, lines):
            if "end" in line:
                db.execute("insert into snapshots values (?)", (line["end"]["cursor"],))
                print(f"clients in the snapshot: {line['end']['clients']}", flush=True)
                return
            it = line["client"]
            key = f"{it['partner']}/{it['client']}"
            db.execute(
                "insert into clients values (?, ?, ?, ?, ?, ?)",
                (key, it["name"], it["link"], it["access"], it["billable"], line["last_change"]),
            )
        raise EOFError("the snapshot has no end")  # The transaction is rolled back.


# --- The queue ----------------------------------------------------------------------------------------------------------


def declare(channel):
    """Declares our queue as `tenure subscribe` does: replicated, and with a queue for messages that we reject."""
    dead = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}
    channel.queue_declare(f"{QUEUE}.dead", durable=True, arguments=dead)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,  # A message that crashes us this often moves to the other queue.
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{QUEUE}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    channel.queue_declare(QUEUE, durable=True, arguments=arguments)
    for kind in TYPES:
        channel.queue_bind(QUEUE, EXCHANGE, routing_key=kind)


def consume(db):
    with pika.BlockingConnection(pika.URLParameters(AMQP_URL)) as connection:
        channel = connection.channel()
        declare(channel)
        if not db.execute("select 1 from snapshots").fetchone():
            begin_with_snapshot(db)
        channel.basic_qos(prefetch_count=100)  # At most this many messages without an acknowledgement.
        print(f"following {QUEUE}", flush=True)
        for delivery, _, body in channel.consume(QUEUE):
            try:
                change = JSONFormat().read(None, body)
            except ValueError:  # It will never become readable. RabbitMQ moves it to the dead-letter queue.
                channel.basic_nack(delivery.delivery_tag, requeue=False)
                continue
            apply(db, change)
            channel.basic_ack(delivery.delivery_tag)  # After the commit. After a crash in between, it comes again.


def main():
    db = sqlite3.connect(READ_MODEL, timeout=30)
    db.executescript(SCHEMA)
    failures = 0
    while True:
        started = time.monotonic()
        try:
            consume(db)
        except (AMQPError, OSError, EOFError, sqlite3.Error) as error:
            failures = 0 if time.monotonic() - started > 60 else failures + 1
            seconds = random.uniform(0.5, 1) * min(2**failures, 30)
            print(f"disconnected, next attempt in {seconds:.1f} s: {error!r}", file=sys.stderr)
            time.sleep(seconds)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
