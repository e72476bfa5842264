/** Numbers in words for a person. */

const UNITS = ["B", "KiB", "MiB", "GiB"];

export function bytesText(count) {
  let [value, unit] = [count, 0];
  for (; value >= 1024 && unit < UNITS.length - 1; unit += 1) value /= 1024;
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)}\u00a0${UNITS[unit]}`;
}

export function percentText(share) {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)}\u00a0%` : "not known";
}

export function timeText(milliseconds) {
  return `${milliseconds < 10 ? milliseconds.toFixed(2) : Math.round(milliseconds)}\u00a0ms`;
}

export function countText(count, one, many = `${one}s`) {
  return `${count}\u00a0${count === 1 ? one : many}`;
}
