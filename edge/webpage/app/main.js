/** The page: what each button does, over the modules beside this one. */

import { carriedBytes, carriedFacts, carriedText } from "./carried.js";
import { Collecting } from "./collecting.js";
import { Trainer } from "./trainer.js";
import { Training } from "./training.js";
import { Keeping } from "./keeping.js";
import { Store } from "./store.js";
import { element, alarm } from "./elements.js";

async function start() {
  const facts = carriedFacts();
  const store = await Store.open(`mest ${facts.id}`);
  element("elsewhere").hidden = !store.elsewhere;
  const run = (await store.run()) ?? null;
  const training = new Training(facts, store, run);
  const trainer = new Trainer(carriedText("worker"), (told) => training.told(told));
  training.trainer = trainer;
  const plan = carriedBytes("plan");
  training.opened(await trainer.ask("start", { module: carriedBytes("module"), plan, state: run?.state ?? null }));
  const collecting = new Collecting(facts, store, trainer, () => training.changed());
  training.collection = collecting.collection;
  await collecting.restore();
  new Keeping({ facts, store, plan, training, collecting });
  training.show();
  element("opening").hidden = true;
  element("work").inert = false;
}

/** Without the network nothing here does anything: why there is none is all that is left to see. */
function close(error) {
  element("opening").hidden = element("work").hidden = true;
  alarm(error.message);
}

addEventListener("unhandledrejection", ({ reason }) => alarm(reason?.message ?? String(reason)));
start().catch(close);
