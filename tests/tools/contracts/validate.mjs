// Validates the contracts in a folder with the tools of their standards: node validate.mjs FOLDER TOOLS
//
// AsyncAPI with @asyncapi/parser, OpenAPI with @readme/openapi-parser, and every JSON Schema and its examples with ajv. Prints what is
// wrong, and exits with 1 if anything is. TOOLS is the folder with node_modules.
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, tools] = process.argv.slice(2);
const require = createRequire(join(tools, 'package.json'));
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const read = (...path) => JSON.parse(readFileSync(join(folder, ...path), 'utf8'));
const wrong = [];

async function asyncapi() {
  const { Parser, DiagnosticSeverity } = await load('@asyncapi/parser');
  const { document, diagnostics } = await new Parser().parse(readFileSync(join(folder, 'asyncapi.json'), 'utf8'));
  const serious = diagnostics.filter(({ severity }) => severity <= (DiagnosticSeverity?.Warning ?? 1));
  // The parser recommends the newest version of AsyncAPI.
  const faults = serious.filter(({ code }) => code !== 'asyncapi-latest-version');
  wrong.push(...faults.map(({ path, message, code }) => `asyncapi.json: ${path.join('/')}: ${message} (${code})`));
  const messages = document?.allMessages().all().length ?? 0;
  console.log(`asyncapi.json: ${messages} messages`);
}

async function openapi() {
  const { validate, compileErrors } = await load('@readme/openapi-parser');
  const result = await validate(read('openapi.json'));
  if (!result.valid) wrong.push(`openapi.json: ${compileErrors(result)}`);
  console.log(`openapi.json: ${Object.keys(read('openapi.json').paths).length} paths`);
}

async function schemas() {
  const { default: ajvModule } = await load('ajv/dist/2020.js');
  const { default: formatsModule } = await load('ajv-formats');
  const Ajv = ajvModule.default ?? ajvModule;
  const addFormats = formatsModule.default ?? formatsModule;
  let count = 0;
  for (const family of ['events', 'changes']) {
    for (const name of readdirSync(join(folder, family))) {
      const schema = read(family, name);
      // strictTypes and strictRequired object to valid schemas that say a thing once.
      const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
      addFormats(ajv);
      try {
        const check = ajv.compile(schema);
        if (!schema.examples?.length) wrong.push(`${family}/${name}: no example`);
        for (const example of schema.examples ?? []) {
          if (!check(example)) wrong.push(`${family}/${name}: its example: ${ajv.errorsText(check.errors)}`);
        }
      } catch (error) {
        wrong.push(`${family}/${name}: ${error.message}`);
      }
      count += 1;
    }
  }
  console.log(`${count} schemas`);
}

await asyncapi();
await openapi();
await schemas();
for (const line of wrong) console.error(line);
process.exit(wrong.length ? 1 : 0);
