/** From a picture to what the network takes: its bands, resized and cut as `edge/data/preprocess.py` does. */

import { resample } from "./resample.js";

/** RGBA to bands: red, green and blue, or one of brightness with the weights of Pillow's mode L. */
function bandsOf(rgba, mode) {
  const count = rgba.length / 4;
  const bands = Array.from({ length: mode === "L" ? 1 : 3 }, () => new Uint8ClampedArray(count));
  for (let at = 0, from = 0; at < count; at += 1, from += 4) {
    if (mode === "L") bands[0][at] = (rgba[from] * 19595 + rgba[from + 1] * 38470 + rgba[from + 2] * 7471 + 0x8000) >> 16;
    else for (let band = 0; band < 3; band += 1) bands[band][at] = rgba[from + band];
  }
  return bands;
}

/** The [width, height] that a picture is resized to: both given, or the short side. */
function target(resize, width, height) {
  if (resize === null) return [width, height];
  if (Array.isArray(resize)) return [resize[1], resize[0]];
  if (width <= height) return [resize, Math.max(resize, Math.floor((resize * height) / width))];
  return [Math.max(resize, Math.floor((resize * width) / height)), resize];
}

/** Pixels [channel][row][column] of RGBA data of `width` x `height`, as one Uint8Array. */
export function prepared(rgba, width, height, { mode, resize, crop, interpolation }) {
  const [toWidth, toHeight] = target(resize, width, height);
  const [rows, columns] = crop ?? [toHeight, toWidth];
  if (rows > toHeight || columns > toWidth) {
    throw new Error(`a picture of ${width} x ${height} is smaller than the network's ${columns} x ${rows}`);
  }
  const [top, left] = [Math.floor((toHeight - rows) / 2), Math.floor((toWidth - columns) / 2)];
  const bands = bandsOf(rgba, mode);
  const made = new Uint8Array(bands.length * rows * columns);
  bands.forEach((band, channel) => {
    const whole = resample(band, width, height, toWidth, toHeight, interpolation);
    for (let row = 0; row < rows; row += 1) {
      const from = (top + row) * toWidth + left;
      made.set(whole.subarray(from, from + columns), (channel * rows + row) * columns);
    }
  });
  return made;
}

/** The same of a canvas, a video or a decoded picture. */
export function pixelsOf(picture, width, height, preprocess) {
  const canvas = new OffscreenCanvas(width, height);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  drawing.drawImage(picture, 0, 0, width, height);
  return prepared(drawing.getImageData(0, 0, width, height).data, width, height, preprocess);
}

/** Shows pixels of the network on a canvas, one dot each. */
export function show(canvas, pixels, { channels, height, width }) {
  const area = height * width;
  const image = new ImageData(width, height);
  for (let at = 0; at < area; at += 1) {
    for (let band = 0; band < 3; band += 1) image.data[4 * at + band] = pixels[(channels === 1 ? 0 : band) * area + at];
    image.data[4 * at + 3] = 255;
  }
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}
