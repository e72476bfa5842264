// One job of web_beside.js under Node, as JSON: node web_beside.mjs NAME JOB LIBRARY
// (NAME mestSteps or mestRun: LIBRARY is mest.js; tfjsSteps: the folder that TensorFlow.js is installed in)
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import "./web_beside.js";

const [name, job, library] = process.argv.slice(2);
const asked = JSON.parse(await readFile(job));
console.log = console.info = console.warn = console.error; // TensorFlow.js greets on the standard output

async function loaded() {
  if (!name.startsWith("tfjs")) return import(pathToFileURL(library));
  const require = createRequire(join(library, "package.json"));
  if (asked.backend !== "wasm") return require("@tensorflow/tfjs/dist/tf.es2017.min.js"); // three times as fast as tf.node.js
  require("@tensorflow/tfjs-backend-wasm");
  return require("@tensorflow/tfjs");
}

try {
  process.stdout.write(`\n${JSON.stringify(await globalThis.beside[name](await loaded(), asked))}\n`);
} catch (error) {
  process.stdout.write(`\n${JSON.stringify({ refused: error.message })}\n`);
}
