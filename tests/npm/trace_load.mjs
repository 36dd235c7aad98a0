// Loads a trace with the engine of the performance panel; prints what it made of it as JSON.
// usage: node trace_load.mjs FILE.trace.json
import fs from 'node:fs';

// Node 18 has none; the engine expects a browser of today.
URL.parse ??= (text, base) => { try { return new URL(text, base); } catch { return null; } };
globalThis.DOMRect ??= class {
  constructor(x = 0, y = 0, width = 0, height = 0) { Object.assign(this, {x, y, width, height}); }
};
const Trace = await import('@paulirish/trace_engine/models/trace/trace.js');
const {traceEvents} = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const model = Trace.TraceModel.Model.createWithAllHandlers();
await model.parse(traceEvents, {isFreshRecording: false});
const {data} = model.parsedTrace();
const lanes = [];
for (const [pid, process_] of data.Renderer.processes) {
  for (const [tid, thread] of process_.threads) {
    lanes.push({pid, tid, name: thread.name, entries: thread.entries.map(entry => entry.name)});
  }
}
const flows = data.Flows.flows.map(flow => flow.map(event => event.name));
console.log(JSON.stringify({events: traceEvents.length, lanes, flows}));
