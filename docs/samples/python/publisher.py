"""An app that publishes its events to Tenure: nothing is lost, whatever stops or fails in between.

    python publisher.py add acme/c-1 "Bluebird Bakery"
    python publisher.py invite acme/c-1
    python publisher.py send                             # only send what is waiting
    python publisher.py - < commands.txt                 # one command per line

The app's data is in `app.db`. A command changes it and writes the event into the table `outbox`, in one transaction. Then
`send` publishes the outbox. An event leaves the outbox when RabbitMQ has confirmed it, so it may be sent twice but never zero
times. Tenure recognizes the second one by its `source` and `id`.

Environment: AMQP_URL (default: a RabbitMQ on this machine), APP_DB (default: app.db).
"""

import os
import random
import sqlite3
import sys
import time
import uuid

import pika
from cloudevents.core.bindings.rabbitmq import to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pika.exceptions import AMQPError, NackError, UnroutableError

AMQP_URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
APP_DB = os.environ.get("APP_DB", "app.db")
EXCHANGE = "tenure.events"
SOURCE = "/partner-space"  # The name of this app. Never change it: (source, id) names an event forever.

SCHEMA = """
    pragma journal_mode = wal;
    create table if not exists clients (
        client text primary key, name text not null, status text not null, version integer not null
    );
    create table if not exists outbox (
        number integer primary key autoincrement, type text not null, client text not null,
        content_type text not null, body blob not null
    );
"""


# --- The app: it changes its own data, and says so ----------------------------------------------------------------------


def add(db, client, name):
    with db:  # One transaction: the client and its event, or neither.
        added = db.execute(
            "insert into clients values (?, ?, 'draft', 1) on conflict do nothing returning version", (client, name)
        ).fetchone()
        if added:
            write_event(db, "client.added", client, added[0], {"name": name})
        else:
            print(f"{client} exists already: nothing to do")


def invite(db, client):
    with db:
        invited = db.execute(
            "update clients set status = 'invited', version = version + 1 where client = ? and status = 'draft'"
            " returning version",
            (client,),
        ).fetchone()
        if invited:
            write_event(db, "client.invited", client, invited[0])
        else:
            print(f"{client} is not a draft: nothing to do")


def write_event(db, kind, client, version, data=None):
    """Writes an event into the outbox. It gets its id and time here, once, however often it is sent."""
    event = CloudEvent(  # With a new UUID as its id, and the current time: when it happened.
        {
            "source": SOURCE,
            "type": kind,
            "subject": client,  # partner/client
            "sequence": str(version),  # Orders two events of the same time.
            "partitionkey": client,
        },
        data,
    )
    message = to_structured(event, JSONFormat())
    db.execute(
        "insert into outbox (type, client, content_type, body) values (?, ?, ?, ?)",
        (kind, client, message.content_type, message.body),
    )


# --- The sender: in a real app, a background task that runs after each commit and every few seconds -----------------------


def send(db):
    """Publishes the outbox until it is empty. After a failure it waits longer each time, up to 30 seconds, and connects again."""
    failures = 0
    while next_event(db):
        try:
            with pika.BlockingConnection(pika.URLParameters(AMQP_URL)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()  # From now on, basic_publish waits for RabbitMQ's confirm.
                while event := next_event(db):
                    publish(channel, event)
                    failures = 0
                    with db:
                        db.execute("delete from outbox where number = ?", (event["number"],))
        except UnroutableError:
            wait(failures, "no queue receives it. Start `tenure run` once: it declares its queues")
        except NackError:
            wait(failures, "RabbitMQ could not store it")
        except (AMQPError, OSError) as error:
            wait(failures, repr(error))
        failures += 1


def next_event(db):
    """The oldest event. One at a time keeps the order: Tenure does not need it, but late events cause corrections."""
    return db.execute("select * from outbox order by number limit 1").fetchone()


def publish(channel, event):
    """Returns when RabbitMQ has the event in a queue, on disk. Raises if not."""
    channel.basic_publish(
        EXCHANGE,
        routing_key=event["type"],
        body=event["body"],
        properties=pika.BasicProperties(
            content_type=event["content_type"],
            delivery_mode=pika.DeliveryMode.Persistent.value,
            headers={"partitionkey": event["client"]},  # Events with the same key stay in order.
        ),
        mandatory=True,  # RabbitMQ returns a message that no queue receives, instead of dropping it.
    )


def wait(failures, why):
    seconds = random.uniform(0.5, 1) * min(2**failures, 30)
    print(f"not published yet, next attempt in {seconds:.1f} s: {why}", file=sys.stderr)
    time.sleep(seconds)


def main(arguments):
    db = sqlite3.connect(APP_DB, timeout=30)
    db.row_factory = sqlite3.Row
    db.executescript(SCHEMA)
    commands = [line.split(maxsplit=2) for line in sys.stdin] if arguments == ["-"] else [arguments]
    for command in commands:
        match command:
            case ["add", client, name]:
                add(db, client, name.strip())
            case ["invite", client]:
                invite(db, client)
            case ["send"]:
                pass
            case _:
                sys.exit(__doc__)
    send(db)
    print("every event is published")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("stopped; `publisher.py send` sends what is left")
