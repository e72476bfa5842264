// One epoch of a plan through mest.js under Node, on random pixels; what it held and took, as JSON.
// node web_step.mjs MODULE_FOLDER PLAN SAMPLES
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, plan, samples] = process.argv.slice(2);
const { open } = await import(pathToFileURL(join(folder, "mest.js")));
const module = await readFile(join(folder, "mest.wasm"));
const model = await open({ module, plan: await readFile(plan), mostSamples: Number(samples) });
const opened = model.memoryBytes;
const pixels = Uint8Array.from({ length: Number(samples) * model.sampleSize }, (_, place) => (place * 7919) % 256);
model.use(pixels, Int32Array.from({ length: Number(samples) }, (_, place) => place % model.facts.classes));
model.begin({ epochs: 1 });
const took = [];
for (let at = model.advance(); !at.finished; at = model.advance()) if (at.phase === 2) took.push(at.stepMs);
took.sort((one, other) => one - other);
const { memoryBytes, usedBytes, facts } = model;
const { plannedPeakBytes, arenaBytes, tensorsBytes } = facts;
const held = { opened, memoryBytes, usedBytes, plannedPeakBytes, arenaBytes, tensorsBytes };
console.log(JSON.stringify({ ...held, moduleBytes: module.length, steps: took.length, stepMsMedian: took[took.length >> 1] }));
