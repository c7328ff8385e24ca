// Validates the ServiceMonitors in files with the schema of the Prometheus Operator: node validate.mjs FILE… It prints how many
// there are, and throws if one is invalid.
import { readFileSync } from "node:fs";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { parseAllDocuments } from "yaml";

const documents = process.argv.slice(2).flatMap((file) => parseAllDocuments(readFileSync(file, "utf8")));
const monitors = documents.map((document) => document.toJS()).filter(({ kind }) => kind === "ServiceMonitor");
for (const monitor of monitors) {
  new ServiceMonitor(monitor).validate();
}
console.log(monitors.length);
