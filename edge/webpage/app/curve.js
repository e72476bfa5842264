/** Loss and accuracy of the epochs so far, as two lines of one drawing. */

import { countText, percentText } from "./words.js";

const [WIDTH, HEIGHT, EDGE] = [600, 180, 8];
const MOST_POINTS = 300;
const SVG = "http://www.w3.org/2000/svg";

/** At most so many values, each the mean of its neighbours. */
function thinned(values) {
  const each = Math.ceil(values.length / MOST_POINTS);
  if (each <= 1) return values;
  return Array.from({ length: Math.ceil(values.length / each) }, (_, place) => {
    const some = values.slice(place * each, (place + 1) * each);
    return some.reduce((sum, one) => sum + one, 0) / some.length;
  });
}

function line(values, most, name) {
  const made = document.createElementNS(SVG, "polyline");
  const step = (WIDTH - 2 * EDGE) / Math.max(1, values.length - 1);
  const high = HEIGHT - 2 * EDGE;
  const points = values.map((value, place) => [EDGE + place * step, HEIGHT - EDGE - (value / most) * high]);
  if (points.length === 1) points.push([WIDTH - EDGE, points[0][1]]);
  made.setAttribute("points", points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
  made.setAttribute("class", name);
  return made;
}

/** `top` is where the loss at the upper edge is said. */
export function drawCurve(svg, top, epochs) {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.replaceChildren();
  top.textContent = "";
  if (!epochs.length) return;
  const losses = thinned(epochs.map(({ loss }) => loss));
  const last = epochs[epochs.length - 1];
  const most = losses.reduce((one, other) => Math.max(one, other), 0) || 1;
  svg.append(line(losses, most, "loss"), line(thinned(epochs.map(({ accuracy }) => accuracy)), 1, "accuracy"));
  top.textContent = ` (top: ${most.toPrecision(2)})`;
  const loss = `loss ${losses[0].toFixed(3)} at first, ${last.loss.toFixed(3)} now`;
  const accuracy = `accuracy while training ${percentText(last.accuracy)} now`;
  svg.setAttribute("aria-label", `${countText(epochs.length, "epoch")}: ${loss}; ${accuracy}`);
}
