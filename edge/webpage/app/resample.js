/**
 * Resizes one band of pixels as Pillow does, bit for bit, so that a picture is to the network here what it is elsewhere:
 * a row's, then a column's weighted sums in fixed point (Pillow 12, src/libImaging/Resample.c and Geometry.c).
 */

const PRECISION = 22;
const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, at: (x) => cubic(Math.abs(x), -0.5) },
};

function cubic(x, a) {
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** Of each place along the new side: where its pixels begin along the old one, and their weights. */
function weights(from, to, { support, at }) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(from, Math.trunc(centre + support * stretch + 0.5));
    const found = [];
    for (let x = first; x < end; x += 1) found.push(at((x - centre + 0.5) * (1 / stretch)));
    const sum = found.reduce((all, one) => all + one, 0);
    const fixed = found.map((one) => Math.trunc((sum ? one / sum : one) * 2 ** PRECISION + (one < 0 ? -0.5 : 0.5)));
    return { first, fixed };
  });
}

/** One pass: `lines` lines of pixels, `step` apart along the line and `apart` from line to line. */
function pass(old, lines, along, { step, apart, toStep, toApart }) {
  const made = new Uint8ClampedArray(lines * along.length);
  for (let line = 0; line < lines; line += 1) {
    along.forEach(({ first, fixed }, place) => {
      let sum = 2 ** (PRECISION - 1);
      for (let k = 0; k < fixed.length; k += 1) sum += old[line * apart + (first + k) * step] * fixed[k];
      made[line * toApart + place * toStep] = sum >> PRECISION;
    });
  }
  return made;
}

function nearest(band, width, height, toWidth, toHeight) {
  const made = new Uint8ClampedArray(toWidth * toHeight);
  for (let y = 0; y < toHeight; y += 1) {
    const row = Math.floor((y + 0.5) * (height / toHeight)) * width;
    for (let x = 0; x < toWidth; x += 1) made[y * toWidth + x] = band[row + Math.floor((x + 0.5) * (width / toWidth))];
  }
  return made;
}

/** A band [row][column] of `width` x `height` in another size; `kind`: nearest, bilinear or bicubic. */
export function resample(band, width, height, toWidth, toHeight, kind) {
  if (kind === "nearest") return nearest(band, width, height, toWidth, toHeight);
  const filter = FILTERS[kind];
  let made = band;
  if (toWidth !== width) {
    const layout = { step: 1, apart: width, toStep: 1, toApart: toWidth };
    made = pass(made, height, weights(width, toWidth, filter), layout);
  }
  if (toHeight !== height) {
    const layout = { step: toWidth, apart: 1, toStep: toWidth, toApart: 1 };
    made = pass(made, toWidth, weights(height, toHeight, filter), layout);
  }
  return made;
}
