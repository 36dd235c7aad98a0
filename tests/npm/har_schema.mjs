// Validates HARs with the schema of the har-schema package, as har-validator does.
// usage: node har_schema.mjs FILE.har...        prints {FILE: [errors]} as JSON
import Ajv from 'ajv';
import fs from 'node:fs';
import {createRequire} from 'node:module';

const require = createRequire(import.meta.url);
const ajv = new Ajv({allErrors: true, format: 'full'});
ajv.addMetaSchema(require('ajv/lib/refs/json-schema-draft-06.json'));
ajv.addSchema(Object.values(require('har-schema')));
const validate = ajv.getSchema('har.json');
const found = {};
for (const file of process.argv.slice(2)) {
  validate(JSON.parse(fs.readFileSync(file, 'utf8')));
  found[file] = (validate.errors ?? []).map(error => `${error.dataPath} ${error.message}`);
}
console.log(JSON.stringify(found));
