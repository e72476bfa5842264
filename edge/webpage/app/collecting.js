/** From a picture that is shown to a sample: it is read at once, and a class button keeps it. */

import { Camera } from "./camera.js";
import { Collection } from "./collection.js";
import { Pad } from "./drawing.js";
import { alarm, element, press, storageFault } from "./elements.js";
import { decoded, watchFiles } from "./files.js";
import { pixelsOf, show } from "./pixels.js";
import { best, showReading } from "./reading.js";
import { countText } from "./words.js";

function joined(parts) {
  const all = new Uint8Array(parts.length * parts[0].length);
  parts.forEach((part, place) => all.set(part, place * part.length));
  return all;
}

export class Collecting {
  collection;
  #facts;
  #store;
  #trainer;
  #changed;
  #shown = [];
  #counts;
  #pad = null;

  constructor(facts, store, trainer, changed) {
    this.collection = new Collection(facts.channels * facts.height * facts.width);
    [this.#facts, this.#store, this.#trainer, this.#changed] = [facts, store, trainer, changed];
    watchFiles(element("files"), element("show"), (files) => this.#files(files));
    if (facts.drawing) this.#drawing();
    this.#camera();
    this.#counts = facts.classNames.map((name, label) => this.#classButton(name, label));
    press("remove-last", () => this.#removeLast());
    press("remove-all", () => this.#removeAll());
  }

  async restore() {
    this.collection.add(await this.#store.samples());
    this.#count();
  }

  /** Shows pictures and reads them. */
  async #show(pictures) {
    const shown = pictures.map(({ picture, name, width, height }) => ({
      name,
      pixels: pixelsOf(picture, width ?? picture.width, height ?? picture.height, this.#facts.preprocess),
    }));
    this.#shown = shown;
    element("tray").replaceChildren(
      ...shown.map(({ pixels, name }) => {
        const [item, canvas, word] = ["li", "canvas", "span"].map((kind) => document.createElement(kind));
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", name);
        show(canvas, pixels, this.#facts);
        item.append(canvas, word);
        return item;
      }),
    );
    await this.#read();
  }

  async #read() {
    element("reading-none").hidden = this.#shown.length > 0;
    if (!this.#shown.length) {
      element("reading").replaceChildren();
      return;
    }
    const shown = this.#shown;
    const { classNames } = this.#facts;
    const scores = await this.#trainer.ask("predict", { pixels: joined(shown.map(({ pixels }) => pixels)) });
    if (shown !== this.#shown) return;
    const each = shown.map((_, place) => scores.subarray(place * classNames.length, (place + 1) * classNames.length));
    document.querySelectorAll("#tray span").forEach((word, place) => {
      word.textContent = shown.length > 1 ? best(each[place], classNames)[0].name : "";
    });
    element("reading").hidden = shown.length > 1;
    if (shown.length === 1) showReading(element("reading"), each[0], classNames);
  }

  /** Reads again what is shown, with what was learned since. */
  reread() {
    return this.#read();
  }

  async #files(files) {
    const failed = [];
    const pictures = await decoded(files, failed);
    alarm(failed.length ? `No picture that this browser can read: ${failed.join(", ")}` : "");
    if (pictures.length) await this.#show(pictures);
  }

  #drawing() {
    const { height: rows, width: columns, drawing: light } = this.#facts;
    element("pad-part").hidden = false;
    this.#pad = new Pad(element("pad"), { light: light === "light", rows, columns }, () =>
      this.#show([{ picture: this.#pad.canvas, name: "drawing" }]),
    );
    press("pad-clear", () => this.#clear());
  }

  #camera() {
    const [video, take] = [element("video"), element("take")];
    const showState = () => {
      video.hidden = take.hidden = !camera.on;
      element("camera").textContent = camera.on ? "Camera off" : "Camera";
    };
    const camera = new Camera(video, showState);
    press("camera", async () => {
      if (camera.on) camera.stop();
      else await camera.start();
      showState();
    });
    press("take", () => this.#show([{ picture: camera.take(), name: "camera" }]));
  }

  #clear() {
    this.#pad?.clear();
    return this.#show([]);
  }

  #classButton(name, label) {
    const [button, count] = [document.createElement("button"), document.createElement("small")];
    button.type = "button";
    button.id = `class-${label}`;
    button.append(name, count);
    element("classes").append(button);
    press(button.id, () => this.#keep(label));
    return count;
  }

  async #keep(label) {
    if (!this.#shown.length) throw new Error("Show a picture first: draw, pick files or use the camera; then say its class.");
    const samples = this.#shown.map(({ pixels }) => ({ pixels, label }));
    this.collection.add(samples);
    await this.#clear();
    await this.#store.add(samples).catch((error) => alarm(storageFault(error)));
    this.#count(); // not before: what is counted is kept, so a reload finds it
    this.#changed();
  }

  async #removeLast() {
    const sample = this.collection.removeLast();
    if (!sample) return;
    if (sample.key !== undefined) await this.#store.remove(sample).catch((error) => alarm(storageFault(error)));
    this.#count();
    this.#changed();
  }

  async #removeAll() {
    this.collection.clear();
    await this.#store.forgetSamples().catch((error) => alarm(storageFault(error)));
    this.#count();
    this.#changed();
  }

  #count() {
    this.#counts.forEach((place, label) => {
      const count = this.collection.ofClass(label).length;
      place.textContent = String(count);
      place.parentElement.setAttribute("aria-label", `${this.#facts.classNames[label]}: ${countText(count, "sample")}`);
    });
    element("counted").textContent = `${countText(this.collection.count, "sample")}.`;
  }
}
