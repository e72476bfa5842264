/** The samples with their classes, in the order in which they came, which is the order that a run knows them by. */

export class Collection {
  #samples = [];
  #size;

  constructor(sampleSize) {
    this.#size = sampleSize;
  }

  get count() {
    return this.#samples.length;
  }

  add(samples) {
    this.#samples.push(...samples);
  }

  removeLast() {
    return this.#samples.pop();
  }

  clear() {
    this.#samples = [];
  }

  ofClass(label) {
    return this.#samples.filter((sample) => sample.label === label);
  }

  /** All of it, as a run takes it. */
  packed() {
    const pixels = new Uint8Array(this.#samples.length * this.#size);
    this.#samples.forEach((sample, place) => pixels.set(sample.pixels, place * this.#size));
    return { pixels, labels: Int32Array.from(this.#samples, ({ label }) => label) };
  }
}
