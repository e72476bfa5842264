/** The training beside the page: one model in a worker, so that the page stays alive while it computes. */

import { MestError, open, supported } from "./mest.js";

const SLICE_MS = 40;
const SAVE_MS = 1000;

let module;
let plan;
let model; // the promise of one
let stopping = false;

const pause = () => new Promise((resolve) => setTimeout(resolve));

function factsOf(model) {
  return { ...model.facts, memoryBytes: model.memoryBytes, usedBytes: model.usedBytes };
}

async function opened(mostSamples, state) {
  const found = await open({ module, plan, mostSamples });
  if (state) found.load(state);
  return found;
}

/** A model with room for so many samples; the one before is given up first, so that there are never two. Where this one
 * cannot be had, there is one without samples again. */
async function reopen(mostSamples, state) {
  model = null;
  model = opened(mostSamples, state);
  try {
    return await model;
  } catch (error) {
    model = opened(0, null);
    model.catch(() => {}); // whoever asks for it hears why
    throw error;
  }
}

/** Batches for a while, so that a message is heard between. */
function slice(model) {
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
    return factsOf(await reopen(0, given.state));
  },

  async predict({ pixels }) {
    return (await model).predict(pixels);
  },

  /** A run over samples: a new one from a state's weights (the plan's without one), or on with the run of that state. */
  async train({ pixels, labels, state, goesOn, settings }) {
    stopping = false;
    const trained = await reopen(labels.length, state);
    trained.use(pixels, labels);
    if (goesOn) trained.continue();
    else trained.begin(settings);
    let saved = performance.now();
    for (;;) {
      const { progress, epochs, last } = slice(trained);
      const due = progress.finished || stopping || performance.now() - saved > SAVE_MS;
      if (due) saved = performance.now();
      const state = due ? trained.save() : null;
      postMessage({ event: "progress", progress, epochs, last, facts: factsOf(trained), state });
      if (progress.finished || stopping) return progress;
      await pause();
    }
  },

  stop() {
    stopping = true;
  },

  /** The state now, for a page that is about to be put to sleep. */
  async save() {
    return (await model).save();
  },

  async load({ state }) {
    (await model).load(state);
  },

  async reset() {
    (await model).reset();
  },
};

addEventListener("message", async ({ data: { number, name, given } }) => {
  try {
    postMessage({ number, result: await answers[name](given) });
  } catch (error) {
    postMessage({ number, error: { message: error.message, code: error.code ?? null } });
  }
});
