// Prepares pictures as the page does. node resampled.mjs PIXELS_JS CASES(json: [{rgba, width, height, preprocess}])
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [script, cases] = process.argv.slice(2);
const { prepared } = await import(pathToFileURL(script));
const found = JSON.parse(await readFile(cases)).map(({ rgba, width, height, preprocess }) =>
  Array.from(prepared(Uint8ClampedArray.from(rgba), width, height, preprocess)),
);
console.log(JSON.stringify(found));
