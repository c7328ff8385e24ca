// Follows the changes that Tenure publishes, and has the clients in a read model of its own.
//
//     node subscriber.js
//
// The read model is in `read-model.db`. It begins with a snapshot, and then applies each change once: the change and the id of
// the last change of its client are written in one transaction, and a message is acknowledged after that.
//
// Environment: AMQP_URL, API_URL and API_TOKEN (for the snapshot), QUEUE, READ_MODEL. The defaults are for this machine.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import amqp from "amqplib";
import Database from "better-sqlite3";
import { HTTP } from "cloudevents";

const AMQP_URL = process.env.AMQP_URL ?? "amqp://guest:guest@localhost:5672/%2f";
const API_URL = process.env.API_URL ?? "http://localhost:8080";
const API_TOKEN = process.env.API_TOKEN ?? "";
const QUEUE = process.env.QUEUE ?? "sample.node"; // One queue per read model: two readers of a queue get half of it each.
const EXCHANGE = "tenure.changes";
const TYPES = ["client.*", "link.*", "access.*", "billing.*"];

const db = new Database(process.env.READ_MODEL ?? "read-model.db", { timeout: 30_000 });
db.exec(`
    pragma journal_mode = wal;
    create table if not exists clients (
        client text primary key, name text, link text, access text not null default 'none',
        billable integer not null default 0,
        last_change text not null -- The id of the newest change that this row includes.
    );
    create table if not exists corrections (change text primary key, client text not null, why text not null);
    create table if not exists snapshots (cursor text not null);
`);

// --- The read model ----------------------------------------------------------------------------------------------------

/** Applies a change once, however often it arrives. One transaction: the change, and that it is applied. */
const apply = db.transaction(({ id, type, subject: client, data }) => {
  const known = db.prepare("select last_change from clients where client = ?").get(client);
  // A repetition, or part of the snapshot. The ids of a client's changes increase.
  if (known && id <= known.last_change) return;
  db.prepare(
    `insert into clients (client, last_change) values (?, ?)
     on conflict do update set last_change = excluded.last_change`,
  ).run(client, id);
  for (const [column, value] of Object.entries(newValues(type, data))) {
    db.prepare(`update clients set ${column} = ? where client = ?`).run(value, client);
  }
  if (data.correction) {
    // The new state is right. What you did because of the old one, such as sending a mail, may not have been.
    const why = `${type} because of ${JSON.stringify(data.corrected_by)}`;
    db.prepare("insert into corrections values (?, ?, ?)").run(id, client, why);
  }
  console.log(`${client}: ${type}`);
});

/** What a change changes in a row. A type that we do not know, or do not need, changes nothing. */
function newValues(type, data) {
  const [facet, status] = type.split(".");
  if (type === "client.named" || type === "client.renamed") return { name: data.to };
  if (facet === "link") return { link: status };
  if (facet === "access" && ["none", "enabled", "disabled", "expired"].includes(status)) return { access: status };
  if (facet === "billing") return { billable: status === "started" ? 1 : 0 };
  return {};
}

/** Loads every client as it is. The queue has been there for longer, so it has every change that comes after. */
async function beginWithSnapshot() {
  const response = await fetch(`${API_URL}/v1/snapshot`, { headers: { authorization: `Bearer ${API_TOKEN}` } });
  if (!response.ok) throw new Error(`GET /v1/snapshot: ${response.status} ${await response.text()}`);
  const insert = db.prepare("insert into clients values (?, ?, ?, ?, ?, ?)");
  db.exec("begin");
  try {
    for await (const text of createInterface({ input: Readable.fromWeb(response.body) })) {
      const { client: it, last_change, end } = JSON.parse(text);
      if (end) {
        db.prepare("insert into snapshots values (?)").run(end.cursor);
        db.exec("commit");
        console.log(`clients in the snapshot: ${end.clients}`);
        return;
      }
      insert.run(`${it.partner}/${it.client}`, it.name, it.link, it.access, it.billable ? 1 : 0, last_change);
    }
    throw new Error("the snapshot has no end");
  } finally {
    if (db.inTransaction) db.exec("rollback");
  }
}

// --- The queue ---------------------------------------------------------------------------------------------------------

/** Declares our queue as `tenure subscribe` does: replicated, and with a queue for messages that we reject. */
async function declare(channel) {
  await channel.assertQueue(`${QUEUE}.dead`, {
    arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000 },
  });
  await channel.assertQueue(QUEUE, {
    arguments: {
      "x-queue-type": "quorum",
      "x-delivery-limit": 20, // A message that crashes us this often moves to the other queue.
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": `${QUEUE}.dead`,
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    },
  });
  for (const type of TYPES) await channel.bindQueue(QUEUE, EXCHANGE, type);
}

/** Consumes until the connection is lost, and then rejects. */
async function consume() {
  const connection = await amqp.connect(AMQP_URL);
  const lost = once(connection, "close"); // It rejects with the error, if there is one.
  lost.catch(() => {});
  try {
    const channel = await connection.createChannel();
    channel.on("error", () => connection.close().catch(() => {}));
    await declare(channel);
    if (!db.prepare("select 1 from snapshots").get()) await beginWithSnapshot();
    await channel.prefetch(100); // At most this many messages without an acknowledgement.
    await channel.consume(QUEUE, (message) => {
      if (!message) return connection.close().catch(() => {}); // The queue was deleted. Declare it again.
      let change;
      try {
        const headers = { "content-type": message.properties.contentType };
        change = HTTP.toEvent({ headers, body: message.content.toString() });
      } catch {
        channel.nack(message, false, false); // It will never become readable. RabbitMQ moves it to the dead-letter queue.
        return;
      }
      apply(change); // An error of the read model's database closes the connection, and the message comes again.
      channel.ack(message); // After the commit. After a crash in between, it comes again.
    });
    console.log(`following ${QUEUE}`);
    await lost;
    throw new Error("the connection was closed");
  } finally {
    await connection.close().catch(() => {}); // It may be closed already.
  }
}

for (let failures = 0; ; failures++) {
  const started = Date.now();
  try {
    await consume();
  } catch (error) {
    if (Date.now() - started > 60_000) failures = 0;
    const seconds = (0.5 + Math.random() / 2) * Math.min(2 ** failures, 30);
    console.error(`disconnected, next attempt in ${seconds.toFixed(1)} s: ${error.message || error}`);
    await sleep(seconds * 1000);
  }
}
