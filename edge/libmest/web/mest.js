/**
 * Sparse training from a compiled plan, in a page or under Node: the C library of mest as WebAssembly.
 *
 * What a run computes (checks, normalisation, splits, order, schedule, states) is decided by that library; this file
 * hands it bytes and gives its numbers names.
 */

/** The smallest module with an instruction on a vector of 128 bits. */
const VECTORS = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);
const FILES = ["plan", "data", "state"];
const FACTS = [
  "channels", "height", "width", "images", "classes", "batchSize", "piece", "threads", "sparsity", "plannedPeakBytes",
  "budgetBytes", "arenaBytes", "tensorsBytes", "stateBytes", "epochs", "learningRate", "seed",
];
const PROGRESS = [
  "phase", "epoch", "epochs", "epochEnded", "due", "step", "samples", "correct", "loss", "learningRate", "epochLoss",
  "epochAccuracy", "accuracyBefore", "accuracyAfter", "trained", "heldOut", "stepMs", "readMs",
  "removed", "grown", "mutations",
  "heldOutAccuracy", "gained", "bestEpoch", "stoppedEarly",
];
const KINDS = new Map([[Uint8Array, 0], [Int16Array, 1], [Float32Array, 2]]);
const BAD_INPUT = 2;
const FINISHED = 4;
const AS_COMPILED = -1;

/** What the library refuses (2), has no memory for (3) or finds damaged (4): `code` is the exit code of `mest-run`. */
export class MestError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "MestError";
    this.code = code;
  }
}

/** Whether this browser or runtime has what the module needs: vectors of 128 bits. */
export function supported() {
  return typeof WebAssembly === "object" && WebAssembly.validate(VECTORS);
}

/** Opens a plan. All memory is asked for here: `memoryBytes` stays what it is afterwards. */
export async function open({ module, plan, data, training = true, mostSamples = 0, numbers = Uint8Array }) {
  if (!supported()) {
    throw new MestError(BAD_INPUT, "no WebAssembly with vectors of 128 bits (SIMD) here; use a newer browser");
  }
  const compiled = module instanceof WebAssembly.Module ? module : await WebAssembly.compile(module);
  const model = new Model();
  await model._start(compiled, { plan: asBytes(plan), data: data && asBytes(data) });
  model._prepare(training, mostSamples, numbers);
  return model;
}

/** A plan that was opened; made by `open`. A refusal changes nothing, as in the C library. */
export class Model {
  #exports;
  #files;
  #kind;
  #numbers;
  #room;
  #atOnce;
  #written;

  /** What the plan holds; the names are those of `LibmestFacts`. */
  facts;

  /** Names of the classes, in the order of scores. */
  classNames;

  async _start(module, files) {
    this.#files = files;
    const imports = {
      mest: {
        read: (file, into, count, offset) => this.#read(FILES[file], into, count, offset),
        write: (from, count) => this.#written.push(this.#bytes(from, count).slice()),
      },
      wasi_snapshot_preview1: { clock_time_get: (clock, precision, into) => this.#clock(into) },
    };
    this.#exports = (await WebAssembly.instantiate(module, imports)).exports;
    this.#exports._initialize();
    this.#must(this.#exports.web_open(files.plan.length));
    this.facts = this.#named(FACTS, this.#exports.web_facts());
    if (files.data) this.#must(this.#exports.web_use(files.data.length));
  }

  _prepare(training, mostSamples, numbers) {
    if (!KINDS.has(numbers)) throw new MestError(BAD_INPUT, "numbers: allowed are Uint8Array, Int16Array, Float32Array");
    this.#kind = KINDS.get(numbers);
    this.#numbers = numbers;
    this.#atOnce = this.#exports.web_at_once();
    this.#room = Math.max(mostSamples, this.#atOnce);
    this.#must(this.#exports.web_prepare(training ? 1 : 0, this.#room, numbers.BYTES_PER_ELEMENT));
    const names = Array.from({ length: this.facts.classes }, (_, place) => this.#exports.web_class_name(place));
    this.classNames = names.map((at) => this.#text(at));
  }

  /** Bytes of linear memory: all that the network, its training and the module hold. */
  get memoryBytes() {
    return this.#exports.memory.buffer.byteLength;
  }

  /** Bytes of it that are in use; the rest fills the last page of 64 KiB. */
  get usedBytes() {
    return this.#exports.web_used_bytes();
  }

  /** Numbers of a sample: channels x height x width. */
  get sampleSize() {
    return this.facts.channels * this.facts.height * this.facts.width;
  }

  /** Scores of each class, which sum to 1: Float32Array [sample][class]. */
  predict(samples) {
    const all = new Float32Array(this.#count(samples) * this.facts.classes);
    for (let first = 0; first * this.facts.classes < all.length; first += this.#atOnce) {
      const some = samples.subarray(first * this.sampleSize, (first + this.#atOnce) * this.sampleSize);
      const count = this.#ask(some);
      this.#must(this.#exports.web_predict(this.#kind, count));
      const scores = new Float32Array(this.#exports.memory.buffer, this.#exports.web_scores(), count * this.facts.classes);
      all.set(scores, first * this.facts.classes);
    }
    return all;
  }

  /** One optimizer step over 1 to `facts.batchSize` samples, outside of a run. */
  trainStep(samples, labels, learningRate) {
    const count = this.#ask(samples, labels);
    this.#must(this.#exports.web_train_step(this.#kind, count, learningRate));
    return this.#named(["loss", "correct"], this.#exports.web_found());
  }

  /** The samples that runs and evaluations are over; `test`: 1 for each that is held out. */
  use(samples, labels, test) {
    const count = this.#count(samples, labels, this.#room, "open the plan with mostSamples");
    this.#put(samples, labels, this.#exports.web_samples(), this.#exports.web_labels());
    if (test && test.length !== count) throw new MestError(BAD_INPUT, `${test.length} marks for ${count} samples`);
    const marks = this.#bytes(this.#exports.web_test(), count);
    if (test) marks.set(test);
    else marks.fill(0);
    this.#must(this.#exports.web_use_samples(this.#kind, count));
  }

  /** How many of the held-out samples in use (of all, where none is marked) are classified correctly. */
  evaluate() {
    this.#must(this.#exports.web_evaluate());
    return this.#named(["correct", "samples"], this.#exports.web_found());
  }

  /** Begins a run over the samples in use; what is not given is as compiled. */
  begin(settings = {}) {
    this.#begin(0, settings);
  }

  /** Goes on with the run of the state that was loaded. */
  continue(settings = {}) {
    this.#begin(1, settings);
  }

  /** One batch of the run; where it is after it. */
  advance() {
    this.#must(this.#exports.web_advance());
    const found = this.#named(PROGRESS, this.#exports.web_found());
    for (const name of ["epochEnded", "due", "gained", "stoppedEarly"]) found[name] = Boolean(found[name]);
    return { ...found, finished: found.phase === FINISHED };
  }

  /** The rest of the running epoch; where the run is after it. */
  epoch() {
    for (;;) {
      const progress = this.advance();
      if (progress.epochEnded || progress.finished) return progress;
    }
  }

  /** The state of the run: `mest-run` continues it, `mest unpack` brings it home, `load` takes it. */
  save() {
    this.#written = [];
    this.#must(this.#exports.web_save());
    const whole = new Uint8Array(this.#written.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#written) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  /** Takes a state of this plan, of whichever system. */
  load(state) {
    this.#files.state = asBytes(state);
    this.#must(this.#exports.web_load(this.#files.state.length));
  }

  /** The weights that the plan came with. */
  reset() {
    this.#must(this.#exports.web_reset());
  }

  #begin(continues, { epochs = AS_COMPILED, saveEvery = AS_COMPILED, learningRate = AS_COMPILED, holdOut = AS_COMPILED, seed = AS_COMPILED }) {
    this.#must(this.#exports.web_begin(continues, epochs, saveEvery, learningRate, holdOut, seed));
  }

  #ask(samples, labels) {
    const count = this.#count(samples, labels, this.#atOnce, "give a batch at a time");
    this.#put(samples, labels ?? new Int32Array(count), this.#exports.web_asked(), this.#exports.web_asked_labels());
    return count;
  }

  /** How many samples these are; throws where they are no samples of this plan, or too many. */
  #count(samples, labels, room = Infinity, remedy = "") {
    const count = samples.length / this.sampleSize;
    if (!(samples instanceof this.#numbers)) {
      throw new MestError(BAD_INPUT, `samples: give a ${this.#numbers.name}, as the plan was opened for`);
    }
    if (!Number.isInteger(count) || count < 1) {
      throw new MestError(BAD_INPUT, `samples: ${samples.length} numbers; one sample has ${this.sampleSize}`);
    }
    if (count > room) throw new MestError(BAD_INPUT, `samples: ${count}; there is room for ${room}; ${remedy}`);
    if (labels && labels.length !== count) throw new MestError(BAD_INPUT, `${labels.length} labels for ${count} samples`);
    return count;
  }

  #put(samples, labels, at, labelsAt) {
    new this.#numbers(this.#exports.memory.buffer, at, samples.length).set(samples);
    new Int32Array(this.#exports.memory.buffer, labelsAt, labels.length).set(labels);
  }

  #must(code) {
    if (code) throw new MestError(code, this.#text(this.#exports.web_message()) || "no memory for the samples");
  }

  #named(names, at) {
    const numbers = new Float64Array(this.#exports.memory.buffer, at, names.length);
    return Object.fromEntries(names.map((name, place) => [name, numbers[place]]));
  }

  #bytes(at, count) {
    return new Uint8Array(this.#exports.memory.buffer, at, count);
  }

  #text(at) {
    const rest = new Uint8Array(this.#exports.memory.buffer, at);
    return new TextDecoder().decode(rest.slice(0, rest.indexOf(0)));
  }

  #read(name, into, count, offset) {
    const found = this.#files[name].subarray(offset, offset + count);
    if (found.length !== count) return 0;
    this.#bytes(into, count).set(found);
    return 1;
  }

  #clock(into) {
    const now = BigInt(Math.round(performance.now() * 1e6));
    new DataView(this.#exports.memory.buffer).setBigUint64(into, now, true);
    return 0;
  }
}

function asBytes(given) {
  if (given instanceof ArrayBuffer) return new Uint8Array(given);
  return new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
}
