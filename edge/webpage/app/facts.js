/** What the network and its training take, in rows. */

import { bytesText, countText, percentText, timeText } from "./words.js";

/** `found` is what the module says of the plan, `run` what was trained so far. */
export function factRows(facts, found, { progress, stepMs, mutated }) {
  const rows = [
    ["Network", `${facts.name}: ${facts.channels} x ${facts.height} x ${facts.width} to ${countText(facts.classNames.length, "class", "classes")}`],
    ["Weights that are gone", percentText(found.sparsity)],
    ["Memory reserved", `${bytesText(found.memoryBytes)}: all that the network, its training and its samples hold; it does not grow while it trains`],
    ["Memory in use", bytesText(found.usedBytes)],
    ["Planned", `${bytesText(found.arenaBytes)} for a step, ${bytesText(found.tensorsBytes)} for weights and optimizer; ${bytesText(found.plannedPeakBytes)} for the program mest-run on a board`],
    ["Batch", `${countText(found.batchSize, "sample")}, ${found.piece} at once`],
    ["A state", bytesText(found.stateBytes)],
  ];
  if (stepMs) rows.push(["Last step", timeText(stepMs)]);
  if (facts.mutates) rows.push(["Mutations", mutationText(progress, mutated)]);
  return rows;
}

function mutationText(progress, mutated) {
  if (!progress?.mutations) return "none yet";
  const last = mutated ? `; the last one took out ${countText(mutated.removed, "weight")} and let ${mutated.grown} grow` : "";
  return `${progress.mutations} so far${last}`;
}

export function showFacts(list, rows) {
  list.replaceChildren(
    ...rows.flatMap(([name, value]) => {
      const [term, told] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, told.textContent] = [name, value];
      return [term, told];
    }),
  );
}
