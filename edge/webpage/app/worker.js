/** The training beside the page: one model in a worker, so that the page stays alive while it computes. */

import { MestError, open, supported } from "./mest.js";

const SLICE_MS = 40;
const SAVE_MS = 1000;

let module;
let plan;
let model;
let stopping = false;

const pause = () => new Promise((resolve) => setTimeout(resolve));

function facts() {
  return { ...model.facts, memoryBytes: model.memoryBytes, usedBytes: model.usedBytes };
}

/** A model with room for so many samples; the one before is given up first, so that there are never two. */
async function reopen(mostSamples, state) {
  model = null;
  model = await open({ module, plan, mostSamples });
  if (state) model.load(state);
}

/** Batches for a while, so that a message is heard between. */
function slice() {
  const end = performance.now() + SLICE_MS;
  const epochs = [];
  const last = {}; // the time of the last step, and what the last mutation changed
  for (;;) {
    const progress = model.advance();
    if (progress.stepMs) last.stepMs = progress.stepMs;
    if (progress.removed || progress.grown) last.mutated = { removed: progress.removed, grown: progress.grown };
    if (progress.epochEnded) epochs.push({ loss: progress.epochLoss, accuracy: progress.epochAccuracy });
    if (progress.finished || stopping || performance.now() > end) return { progress, epochs, last };
  }
}

const answers = {
  async start(given) {
    if (!supported()) throw new MestError(2, "This browser has no WebAssembly with vectors (SIMD); use a newer one.");
    ({ plan } = given);
    module = await WebAssembly.compile(given.module);
    await reopen(0, given.state);
    return facts();
  },

  predict({ pixels }) {
    return model.predict(pixels);
  },

  /** A run over samples: a new one from a state's weights (the plan's without one), or on with the run of that state. */
  async train({ pixels, labels, state, goesOn, settings }) {
    stopping = false;
    await reopen(labels.length, state);
    model.use(pixels, labels);
    if (goesOn) model.continue();
    else model.begin(settings);
    let saved = performance.now();
    for (;;) {
      const { progress, epochs, last } = slice();
      const due = progress.finished || stopping || performance.now() - saved > SAVE_MS;
      if (due) saved = performance.now();
      const state = due ? model.save() : null;
      postMessage({ event: "progress", progress, epochs, last, facts: facts(), state });
      if (progress.finished || stopping) return progress;
      await pause();
    }
  },

  stop() {
    stopping = true;
  },

  /** The state now, for a page that is about to be put to sleep. */
  save() {
    return model?.save() ?? null;
  },

  load({ state }) {
    model.load(state);
  },

  reset() {
    model.reset();
  },
};

addEventListener("message", async ({ data: { number, name, given } }) => {
  try {
    postMessage({ number, result: await answers[name](given) });
  } catch (error) {
    postMessage({ number, error: { message: error.message, code: error.code ?? null } });
  }
});
