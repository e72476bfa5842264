/** Loss and accuracy of the epochs so far, as two lines of one drawing. */

const [WIDTH, HEIGHT, EDGE] = [600, 180, 8];
const SVG = "http://www.w3.org/2000/svg";

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

export function drawCurve(svg, epochs) {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.replaceChildren();
  if (!epochs.length) return;
  const losses = epochs.map(({ loss }) => loss);
  const last = epochs[epochs.length - 1];
  svg.append(line(losses, Math.max(...losses) || 1, "loss"), line(epochs.map(({ accuracy }) => accuracy), 1, "accuracy"));
  const said = `${epochs.length} epochs: loss ${losses[0].toFixed(3)} at first, ${last.loss.toFixed(3)} now; accuracy while training ${(
    100 * last.accuracy
  ).toFixed(1)} % now`;
  svg.setAttribute("aria-label", said);
}
