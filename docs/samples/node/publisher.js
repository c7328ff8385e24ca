// An app that publishes its events to Tenure: nothing is lost, whatever stops or fails in between.
//
//     node publisher.js add acme/c-1 "Bluebird Bakery"
//     node publisher.js invite acme/c-1
//     node publisher.js send                             only send what is waiting
//     node publisher.js - < commands.txt                 one command per line
//
// The app's data is in `app.db`. A command changes it and writes the event into the table `outbox`, in one transaction. Then
// `send` publishes the outbox. An event leaves the outbox when RabbitMQ has confirmed it, so it may be sent twice but never
// zero times. Tenure recognizes the second one by its `source` and `id`.
//
// Environment: AMQP_URL (default: a RabbitMQ on this machine), APP_DB (default: app.db).

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import amqp from "amqplib";
import Database from "better-sqlite3";
import { CloudEvent, HTTP } from "cloudevents";

const AMQP_URL = process.env.AMQP_URL ?? "amqp://guest:guest@localhost:5672/%2f";
const EXCHANGE = "tenure.events";
const SOURCE = "/partner-space"; // The name of this app. Never change it: (source, id) names an event forever.

const db = new Database(process.env.APP_DB ?? "app.db", { timeout: 30_000 });
db.exec(`
    pragma journal_mode = wal;
    create table if not exists clients (
        client text primary key, name text not null, status text not null, version integer not null
    );
    create table if not exists outbox (
        number integer primary key autoincrement, type text not null, client text not null,
        content_type text not null, body text not null
    );
`);

// --- The app: it changes its own data, and says so ---------------------------------------------------------------------

const add = db.transaction((client, name) => {
  // One transaction: the client and its event, or neither.
  const added = db
    .prepare("insert into clients values (?, ?, 'draft', 1) on conflict do nothing returning version")
    .get(client, name);
  if (added) writeEvent("client.added", client, added.version, { name });
  else console.log(`${client} exists already: nothing to do`);
});

const invite = db.transaction((client) => {
  const invited = db
    .prepare(
      `update clients set status = 'invited', version = version + 1 where client = ? and status = 'draft'
       returning version`,
    )
    .get(client);
  if (invited) writeEvent("client.invited", client, invited.version);
  else console.log(`${client} is not a draft: nothing to do`);
});

/** Writes an event into the outbox. It gets its id and time here, once, however often it is sent. */
function writeEvent(type, client, version, data) {
  // With a new UUID as its id, and the current time: when it happened.
  const event = new CloudEvent({
    source: SOURCE,
    type,
    subject: client, // partner/client
    sequence: String(version), // Orders two events of the same time.
    partitionkey: client,
    datacontenttype: "application/json",
    data,
  });
  const message = HTTP.structured(event); // The JSON form is the same for every protocol.
  db.prepare("insert into outbox (type, client, content_type, body) values (?, ?, ?, ?)").run(
    type,
    client,
    "application/cloudevents+json",
    message.body,
  );
}

// --- The sender: in a real app, a background task that runs after each commit and every few seconds ----------------------

/** The oldest event. One at a time keeps the order: Tenure does not need it, but late events cause corrections. */
const nextEvent = () => db.prepare("select * from outbox order by number limit 1").get();

/** Publishes the outbox until it is empty. After a failure it waits longer each time, up to 30 seconds, and connects again. */
async function send() {
  for (let failures = 0; nextEvent(); failures++) {
    let connection;
    let problem; // What RabbitMQ says before it closes the channel, or confirms a message that it has returned.
    try {
      connection = await amqp.connect(AMQP_URL);
      connection.on("error", (error) => (problem = error));
      const channel = await connection.createConfirmChannel();
      channel.on("error", (error) => (problem = error)); // For example, there is no such exchange.
      channel.on("return", () => {
        problem = new Error("no queue receives it. Start `tenure run` once: it declares its queues");
      });
      for (let event; (event = nextEvent()); failures = 0) {
        publish(channel, event);
        await channel.waitForConfirms(); // Rejects if RabbitMQ could not store it, or the connection is lost.
        if (problem) throw problem; // It was returned. That is reported before the confirm.
        db.prepare("delete from outbox where number = ?").run(event.number);
      }
    } catch (error) {
      const seconds = (0.5 + Math.random() / 2) * Math.min(2 ** failures, 30);
      console.error(`not published yet, next attempt in ${seconds.toFixed(1)} s: ${problem ?? error}`);
      await sleep(seconds * 1000);
    } finally {
      await connection?.close().catch(() => {}); // It may be closed already.
    }
  }
}

function publish(channel, event) {
  channel.publish(EXCHANGE, event.type, Buffer.from(event.body), {
    contentType: event.content_type,
    persistent: true,
    headers: { partitionkey: event.client }, // Events with the same key stay in order.
    mandatory: true, // RabbitMQ returns a message that no queue receives, instead of dropping it.
  });
}

const given = process.argv.slice(2);
const commands =
  given[0] === "-"
    ? readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => line.match(/(\S+)(?: (\S+))?(?: (.+))?/).slice(1))
    : [given];
for (const [command, client, name] of commands) {
  if (command === "add" && client && name) add(client, name);
  else if (command === "invite" && client) invite(client);
  else if (command !== "send") {
    console.error('usage: node publisher.js add CLIENT NAME | invite CLIENT | send | -');
    process.exit(1);
  }
}
await send();
console.log("every event is published");
