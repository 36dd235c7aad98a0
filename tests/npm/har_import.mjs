// Loads a HAR with the importer of Chrome's developer tools; prints what it made of it as JSON.
// usage: node har_import.mjs FILE.har FOLDER        FOLDER keeps the bundled importer
import {build} from 'esbuild';
import fs from 'node:fs';
import path from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';

const [file, folder] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const models = path.join(here, 'node_modules/chrome-devtools-frontend/front_end/models/har');
// A file that their own build generates: languages have no part in an import.
const generated = {
  name: 'generated',
  setup(b) {
    b.onResolve({filter: /locales\.js$/}, () => ({path: 'locales', namespace: 'generated'}));
    b.onLoad({filter: /.*/, namespace: 'generated'}, () => ({
      contents: `export const LOCALES = ['en-US']; export const BUNDLED_LOCALES = ['en-US'];
        export const DEFAULT_LOCALE = 'en-US'; export const REMOTE_FETCH_PATTERN = '';
        export const LOCAL_FETCH_PATTERN = '';`,
    }));
  },
};
const outfile = path.join(folder, 'har_importer.mjs');
if (!fs.existsSync(outfile)) {
  await build({
    stdin: {contents: "export * from './HARFormat.js'; export * from './Importer.js';", resolveDir: models},
    bundle: true, format: 'esm', platform: 'node', outfile, logLevel: 'error', plugins: [generated],
  });
}
globalThis.window = globalThis;
globalThis.self = globalThis;
const {HARRoot, Importer} = await import(pathToFileURL(outfile));
const {log} = new HARRoot(JSON.parse(fs.readFileSync(file, 'utf8')));
const requests = Importer.requestsFromHARLog(log);
const rows = [];
for (const request of requests) {
  const content = await request.requestContentData();
  rows.push({
    url: request.url(), method: request.requestMethod, status: request.statusCode,
    mime: request.mimeType, size: request.resourceSize, transferred: request.transferSize,
    duration: request.duration, address: request.remoteAddress(), failed: request.failed,
    text: content.isTextContent ? content.text : null, base64: content.isTextContent ? null : content.base64,
  });
}
console.log(JSON.stringify(rows));
