// Receives webhooks and verifies each with the library of the specification. Prints its port, and then a line of JSON for each
// request: what was verified, and with which of its secrets.
//
//   node receiver.mjs SECRET… [--tls CERTIFICATE KEY]
import { readFileSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import { Webhook } from "standardwebhooks";

const secrets = process.argv.slice(2);
const tls = secrets.indexOf("--tls");
const files = tls < 0 ? [] : secrets.splice(tls).slice(1);

function receive(request, response) {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8");
    const verified = secrets.map((secret) => {
      try {
        return new Webhook(secret).verify(body, request.headers) !== undefined;
      } catch (error) {
        return error.message;
      }
    });
    const event = JSON.parse(body);
    console.log(JSON.stringify({ id: request.headers["webhook-id"], type: event.type, event: event.id, verified }));
    const known = verified.includes(true);
    response.writeHead(known ? 204 : 401, { "content-type": "text/plain" });
    response.end(known ? undefined : "the signature is wrong");
  });
}

const [certificate, key] = files.map((file) => readFileSync(file));
const server = tls < 0 ? createHttp(receive) : createHttps({ cert: certificate, key }, receive);
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
