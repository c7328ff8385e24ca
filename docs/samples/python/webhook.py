"""Receives the changes that Tenure sends as webhooks, and prints each change once.

    WEBHOOK_SECRET=whsec_… python webhook.py

It verifies each request, and skips a change that it has already processed. The id of the last change of each client is in
`webhook.db`, or the file in DATABASE, so that this is also true after a restart.

Environment: WEBHOOK_SECRET (printed by `tenure webhook add`), PORT, DATABASE.
"""

import os
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

PORT = int(os.environ.get("PORT", 8081))
SECRET = os.environ.get("WEBHOOK_SECRET") or sys.exit("WEBHOOK_SECRET is empty: `tenure webhook add` prints a secret")
webhook = Webhook(SECRET)

db = sqlite3.connect(os.environ.get("DATABASE", "webhook.db"))
db.execute("create table if not exists processed (client text primary key, last_change text not null)")


def process(change):
    """Processes a change once, however often it arrives."""
    with db:  # One transaction: put your own writes here too.
        # The ids of a client's changes increase. `tenure.ping` is no change and has no client.
        is_new = db.execute(
            "insert into processed values (?, ?)"
            " on conflict do update set last_change = excluded.last_change where last_change < excluded.last_change",
            (change.get("subject", ""), change["id"]),
        ).rowcount
        if is_new:
            print(change["id"], change["type"], change.get("subject"), flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            change = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_response(401)  # Not from Tenure, or older than five minutes.
        else:
            process(change)
            self.send_response(204)  # Tenure sends it again unless the answer is 2xx.
        self.end_headers()

    def log_message(self, *_):
        pass  # Changes are printed; requests need not be.


print(f"waiting for changes on port {PORT}", file=sys.stderr)
try:
    HTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
except KeyboardInterrupt:
    pass
