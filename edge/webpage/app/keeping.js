/** States in and out of the page. */

import { element, press, alarm } from "./elements.js";
import { download } from "./files.js";

export class Keeping {
  constructor({ facts, store, plan, training, collecting }) {
    const words = "Samples and what was learned are kept in this browser, on this device, and are there again after a reload.";
    element("kept").textContent = store.keeps
      ? words
      : `This browser keeps nothing for this page (${store.reason}): download the state before you leave.`;
    press("download", () => download(`${facts.name}.state`, training.state));
    press("download-plan", () => download(`${facts.name}.mest`, plan));
    press("forget", () => training.become(null));
    element("load").addEventListener("change", async ({ target }) => {
      alarm("");
      const [file] = target.files;
      try {
        await training.become(new Uint8Array(await file.arrayBuffer()));
      } catch (error) {
        alarm(`${file.name}: ${error.message}`);
      }
      target.value = "";
    });
    training.whenEnded = () => collecting.reread();
  }
}
