// Trains, stops, goes on and answers through mest.js; what it found is printed as JSON.
// node web_run.mjs MODULE_FOLDER PLAN DATA IMAGES(raw, [sample][channel][row][column]) LABELS(raw) PLAN_OF_TWO_THREADS OUT
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, planPath, dataPath, imagesPath, labelsPath, twoPath, out] = process.argv.slice(2);
const { open, supported, MestError } = await import(pathToFileURL(join(folder, "mest.js")));
const module = await WebAssembly.compile(await readFile(join(folder, "mest.wasm")));
const [plan, data, raw] = await Promise.all([planPath, dataPath, imagesPath].map((path) => readFile(path)));
const images = new Uint8Array(raw);

async function refused(work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof MestError) return { code: error.code, message: error.message };
    throw error;
  }
  return null;
}

const first = await open({ module, plan, data });
first.begin();
while (first.advance().step < 5);
const middle = first.save();

const mostSamples = images.length / first.sampleSize;
const second = await open({ module, plan, data, mostSamples });
const reserved = second.memoryBytes;
second.load(middle);
second.continue();
let progress = second.epoch();
while (!progress.finished) progress = second.epoch();
const ended = second.save();
await writeFile(out, ended);
const scores = Array.from(second.predict(images));
const { correct, samples } = second.evaluate();

const labels = new Int32Array(await readFile(labelsPath).then((bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
const asked = await open({ module, plan, mostSamples });
asked.use(images, labels);
asked.begin();
while (!asked.advance().finished) asked.predict(images.slice(0, 3 * asked.sampleSize).fill(7));
const undisturbed = Buffer.compare(asked.save(), ended) === 0;

const own = await open({ module, plan, mostSamples });
const before = own.save();
own.use(images, new Int32Array(mostSamples), new Uint8Array(mostSamples).fill(1, 1));
const losses = [1, 2, 3, 4, 5, 6].map(() => own.trainStep(images.slice(0, own.sampleSize), [1], 0.05).loss);
const changed = Buffer.compare(own.save(), before) !== 0;
own.reset();

const altered = Buffer.from(plan);
altered[altered.length >> 1] ^= 1;
console.log(
  JSON.stringify({
    supported: supported(),
    imports: WebAssembly.Module.imports(module).map(({ name }) => name),
    moduleBytes: (await readFile(join(folder, "mest.wasm"))).length,
    classNames: second.classNames,
    facts: second.facts,
    progress,
    scores,
    undisturbed,
    evaluated: { correct, samples },
    memory: { reserved, after: second.memoryBytes, used: second.usedBytes },
    own: { losses, changed, reset: Buffer.compare(own.save(), before) === 0 },
    refusals: {
      altered: await refused(() => open({ module, plan: altered })),
      threads: await refused(async () => open({ module, plan: await readFile(twoPath) })),
      state: await refused(() => own.load(middle.slice(0, -1))),
      room: await refused(() => first.use(images, new Int32Array(mostSamples))),
      batch: await refused(() => own.trainStep(images, new Int32Array(mostSamples), 0.05)),
      part: await refused(() => first.predict(images.slice(1, 3))),
      kind: await refused(() => first.predict(new Float32Array(first.sampleSize))),
      label: await refused(() => own.trainStep(images.slice(0, own.sampleSize), [99], 0.05)),
    },
  }),
);
