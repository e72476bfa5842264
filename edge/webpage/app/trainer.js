/** Calls to the worker, each answered by a promise; what it tells while it trains goes to `told`. */

export class Trainer {
  #worker;
  #waiting = new Map();
  #number = 0;

  constructor(program, told) {
    const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    this.#worker = new Worker(address);
    this.#worker.addEventListener("message", ({ data }) => this.#heard(data, told));
    this.#worker.addEventListener("error", (event) => this.#fail(event.message || "the worker could not be started"));
  }

  ask(name, given = {}) {
    this.#number += 1;
    const number = this.#number;
    const answer = new Promise((resolve, reject) => this.#waiting.set(number, { resolve, reject }));
    this.#worker.postMessage({ number, name, given });
    return answer;
  }

  #heard(data, told) {
    if (data.event) {
      told(data);
      return;
    }
    const { resolve, reject } = this.#waiting.get(data.number);
    this.#waiting.delete(data.number);
    if (data.error) reject(new Error(data.error.message));
    else resolve(data.result);
  }

  #fail(message) {
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }
}
