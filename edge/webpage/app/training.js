/** The run: begun, stopped, gone on with; what it says while it goes, and what is stored of it. */

import { drawCurve } from "./curve.js";
import { alarm, element, press, storageFault } from "./elements.js";
import { factRows, showFacts } from "./facts.js";
import { percentText } from "./words.js";

export class Training {
  collection;
  trainer;
  #facts;
  #store;
  #run;
  #kept;
  #found = null;
  #running = false;
  #sameSamples = true;
  #drawing = false;
  #ended = () => {};

  /** `run` is what was stored: its state, its epochs, and whether it was stopped before its end. */
  constructor(facts, store, run) {
    [this.#facts, this.#store] = [facts, store];
    this.#run = run ?? begunFrom(null);
    this.#kept = copied(this.#run);
    element("epochs").value = facts.epochs;
    element("rate").value = facts.learningRate;
    element("held").value = Number((100 * facts.holdOut).toFixed(1));
    press("train", () => this.#start(false));
    press("go-on", () => this.#start(true));
    press("stop", () => this.trainer.ask("stop"));
    document.addEventListener("visibilitychange", () => this.#hidden());
  }

  get running() {
    return this.#running;
  }

  get state() {
    return this.#run.state;
  }

  set whenEnded(work) {
    this.#ended = work;
  }

  /** What the worker said of the plan. */
  opened(found) {
    this.#found = found;
  }

  /** The samples are others: a stopped run cannot go on, and a new one begins from what was learned. */
  changed() {
    this.#sameSamples = false;
    if (this.#run.unfinished) {
      this.#run.unfinished = false;
      this.#keep();
    }
    this.show();
  }

  /** Takes another state, or none, for what was learned. */
  async become(state) {
    if (this.#running) throw new Error("Stop the training first.");
    if (state) await this.trainer.ask("load", { state });
    else await this.trainer.ask("reset");
    this.#run = begunFrom(state);
    this.show();
    await this.#keep();
    await this.#ended();
  }

  async #start(goesOn) {
    if (!this.collection.count) throw new Error("There are no samples yet: show pictures and say their class.");
    const settings = asked();
    if (!goesOn) this.#run = begunFrom(this.#run.state);
    this.#running = this.#sameSamples = true;
    this.show();
    try {
      await this.trainer.ask("train", { ...this.collection.packed(), state: this.#run.state, goesOn, settings });
    } catch (error) {
      await this.#backToKept();
      throw error;
    } finally {
      this.#running = false;
      this.show();
    }
    await this.#ended();
  }

  /** After a failure: the run as it was kept last. */
  async #backToKept() {
    this.#run = copied(this.#kept);
    if (this.#run.state) await this.trainer.ask("load", { state: this.#run.state });
    else await this.trainer.ask("reset");
  }

  /** A message of the worker while it trains. */
  told({ progress, epochs, last, facts, state }) {
    this.#found = facts;
    this.#run.epochs.push(...epochs);
    Object.assign(this.#run, { progress, ...last });
    if (state) {
      Object.assign(this.#run, { state, unfinished: this.#sameSamples && !progress.finished });
      this.#keep();
    }
    this.#showSoon();
  }

  /** The page is about to be put to sleep: what was computed so far is stored. */
  async #hidden() {
    if (document.visibilityState !== "hidden" || !this.#running) return;
    const state = await this.trainer.ask("save");
    if (this.#running && state) {
      Object.assign(this.#run, { state, unfinished: this.#sameSamples });
      await this.#keep();
    }
  }

  async #keep() {
    this.#kept = copied(this.#run);
    const stored = this.#kept.state ? this.#store.keepRun(this.#kept) : this.#store.forgetRun();
    await stored.catch((error) => alarm(storageFault(error)));
  }

  /** Once for all that was told since the page was last drawn. */
  #showSoon() {
    if (this.#drawing) return;
    this.#drawing = true;
    setTimeout(() => {
      this.#drawing = false;
      this.show();
    }, 100);
  }

  show() {
    const { progress, epochs, unfinished, state } = this.#run;
    const focused = document.activeElement;
    element("train").disabled = this.#running;
    element("go-on").hidden = this.#running || !unfinished;
    element("stop").hidden = !this.#running;
    handFocus(focused, this.#running ? "stop" : unfinished ? "go-on" : "train");
    element("progress").value = progress ? share(progress, this.#found) : 0;
    element("status").setAttribute("aria-live", this.#running ? "off" : "polite");
    element("status").textContent = this.#words();
    drawCurve(element("curve"), element("loss-top"), epochs);
    if (this.#found) showFacts(element("facts"), factRows(this.#facts, this.#found, this.#run));
    element("download").disabled = !state;
  }

  #words() {
    const { progress: at, epochs } = this.#run;
    if (!at) return this.#run.state ? "A state was loaded." : "Not trained here yet.";
    if (!this.#running && !at.finished) return `Stopped in epoch ${at.epoch + 1} of ${at.epochs}, after ${at.step} steps.`;
    if (at.finished) return `Done: ${at.step} steps, ${at.epochs} epochs${held(at)}.`;
    const last = epochs[epochs.length - 1];
    const how = last ? `; loss ${last.loss.toFixed(3)}, accuracy ${percentText(last.accuracy)} in the last one` : "";
    return `Epoch ${Math.min(at.epoch + 1, at.epochs)} of ${at.epochs}${how}.`;
  }
}

function begunFrom(state) {
  return { state, epochs: [], unfinished: false, progress: null, stepMs: 0, mutated: null };
}

function copied(run) {
  return { ...run, epochs: [...run.epochs] };
}

/** From a button that is gone now to the one that takes its place, so that a keyboard does not lose its way. */
function handFocus(from, to) {
  if (["train", "go-on", "stop"].includes(from?.id) && (from.hidden || from.disabled)) element(to).focus();
}

/** The settings of a new run; throws in words where one is none. */
function asked() {
  const [epochs, learningRate, held] = ["epochs", "rate", "held"].map((name) => Number(element(name).value));
  if (!Number.isInteger(epochs) || epochs < 1) throw new Error("Epochs: give a whole number, 1 or more.");
  if (!(learningRate > 0)) throw new Error("Learning rate: give a number above 0.");
  if (!(held >= 0 && held < 100)) throw new Error("Held out: give a share from 0 to below 100 %.");
  return { epochs, learningRate, holdOut: held / 100 };
}

/** How much of a run is done: its steps of all, or its epochs, as later ones may have fewer samples and steps. */
function share({ step, epoch, epochs, trained, finished }, { batchSize }) {
  const steps = epochs * Math.ceil(trained / batchSize);
  return finished ? 1 : Math.max(epoch / epochs, steps && step / steps);
}

function held({ heldOut, accuracyBefore, accuracyAfter }) {
  if (!heldOut) return "; no samples were held out to test it on";
  return `; of ${heldOut} held-out samples it reads ${percentText(accuracyAfter)}, before the training ${percentText(accuracyBefore)}`;
}
