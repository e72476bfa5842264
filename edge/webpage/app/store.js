/** What the browser keeps of this page between two visits: the samples and the run, in a database of their own. */

import { holds } from "./holding.js";

const [SAMPLES, RUN] = ["samples", "run"];

function done(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}

function opened(name) {
  const request = indexedDB.open(name, 1);
  request.addEventListener("upgradeneeded", () => {
    request.result.createObjectStore(SAMPLES, { autoIncrement: true });
    request.result.createObjectStore(RUN);
  });
  return done(request);
}

const ELSEWHERE = "another tab has this page open, and keeps its samples and what it learned";

/** A store that keeps all of a change or nothing of it.
 *
 * Where the browser has none, or another tab holds it, nothing is kept, and `reason` says so. */
export class Store {
  #name;
  #database = null;
  #writes = false;
  reason = "";

  static async open(name) {
    const store = new Store();
    store.#name = name;
    try {
      store.#database = await opened(name);
      store.#writes = await holds(name);
      if (!store.#writes) store.reason = ELSEWHERE;
    } catch (error) {
      store.reason = error.message;
    }
    return store;
  }

  get keeps() {
    return this.#writes;
  }

  /** Another tab holds it: what that tab kept so far is read, and nothing is written. */
  get elsewhere() {
    return this.#database !== null && !this.#writes;
  }

  async samples() {
    if (!this.#database) return [];
    const all = this.#database.transaction(SAMPLES).objectStore(SAMPLES);
    const [keys, values] = await Promise.all([done(all.getAllKeys()), done(all.getAll())]);
    return values.map((value, place) => ({ ...value, key: keys[place] }));
  }

  /** Keeps samples; each gets its key, by which it is forgotten. */
  add(samples) {
    return this.#change(SAMPLES, async (all) => {
      for (const sample of samples) {
        const { pixels, label } = sample;
        sample.key = await done(all.add({ pixels, label }));
      }
    });
  }

  remove({ key }) {
    return this.#change(SAMPLES, (all) => all.delete(key));
  }

  async run() {
    return this.#database ? done(this.#database.transaction(RUN).objectStore(RUN).get(RUN)) : undefined;
  }

  keepRun(run) {
    return this.#change(RUN, (all) => all.put(run, RUN));
  }

  forgetRun() {
    return this.#change(RUN, (all) => all.clear());
  }

  forgetSamples() {
    return this.#change(SAMPLES, (all) => all.clear());
  }

  async #change(kind, work) {
    if (!this.#writes) return;
    const transaction = await this.#transaction(kind);
    const ended = new Promise((resolve, reject) => {
      transaction.addEventListener("complete", resolve);
      transaction.addEventListener("abort", () => reject(transaction.error));
    });
    ended.catch(() => {});
    await work(transaction.objectStore(kind));
    await ended;
  }

  /** A transaction that writes; a database that the system closed, as it may while the page sleeps, is opened again. */
  async #transaction(kind) {
    const begin = () => this.#database.transaction(kind, "readwrite", { durability: "strict" });
    try {
      return begin();
    } catch (error) {
      if (error.name !== "InvalidStateError") throw error;
      this.#database = await opened(this.#name);
      return begin();
    }
  }
}
