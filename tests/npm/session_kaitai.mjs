// Reads a session by the two Kaitai Struct descriptions; prints what it found as JSON.
// usage: node session_kaitai.mjs FORMATS_FOLDER FOLDER FILE.qtap CONTENT   CONTENT: zstd -dc of it
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

const require = createRequire(import.meta.url);
const yaml = require('js-yaml');
const compiler = require('kaitai-struct-compiler');
const KaitaiStream = require('kaitai-struct/KaitaiStream');

const [formats, folder, file, content] = process.argv.slice(2);

async function parser(name) {
  const description = yaml.load(fs.readFileSync(path.join(formats, name), 'utf8'));
  const files = await compiler.compile('javascript', description, null, false);
  const [[source, text]] = Object.entries(files);
  const out = path.join(folder, source.replace(/\.js$/, '.cjs'));
  const runtime = require.resolve('kaitai-struct/KaitaiStream');
  fs.writeFileSync(out, text.replaceAll("'kaitai-struct/KaitaiStream'", JSON.stringify(runtime)));
  const made = require(out);
  const type = typeof made === 'function' ? made : Object.values(made)[0];
  return bytes => new type(new KaitaiStream(bytes));
}

const buffer = name => {
  const bytes = fs.readFileSync(name);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};
const session = (await parser('session.ksy'))(buffer(file));
const inside = (await parser('session-content.ksy'))(buffer(content));

const header = session.frames[0].body;
const chunks = session.frames.filter(frame => frame.magic === 0x184d2a5d).map(({body, payload}) => ({
  sequence: body.sequence, kind: body.kind, records: body.records, contentLen: body.contentLen,
  storedLen: payload.length, chain: Buffer.from(body.chain).toString('hex'),
}));
const index = session.frames.filter(frame => frame.magic === 0x184d2a5e).map(({body}) => body.rows.map(row => ({
  offset: Number(row.offset), sequence: row.sequence, kind: row.kind,
})));
const contents = inside.contents.map(one => ({
  sequence: one.sequence, kind: one.kind,
  parts: one.parts.map((part, at) => ({
    ring: one.table[at].ring, cpu: one.table[at].cpu, length: one.table[at].length,
    types: part.data.records.map(record => record.type),
  })),
}));
console.log(JSON.stringify({facts: JSON.parse(header.facts), chunks, index, contents}));
