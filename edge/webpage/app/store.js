/** What the browser keeps of this page between two visits: the samples and the run, in a database of their own. */

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

/** A store that keeps all of a change or nothing of it; where the browser has none, nothing is kept, and `reason` says so. */
export class Store {
  #database = null;
  reason = "";

  static async open(name) {
    const store = new Store();
    try {
      store.#database = await opened(name);
    } catch (error) {
      store.reason = error.message;
    }
    return store;
  }

  get keeps() {
    return this.#database !== null;
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
    if (!this.#database) return;
    const transaction = this.#database.transaction(kind, "readwrite", { durability: "strict" });
    const ended = new Promise((resolve, reject) => {
      transaction.addEventListener("complete", resolve);
      transaction.addEventListener("abort", () => reject(transaction.error));
    });
    ended.catch(() => {});
    await work(transaction.objectStore(kind));
    await ended;
  }
}
