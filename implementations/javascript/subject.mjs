/** The program that a runner asks: one JSON object a line (conformance, section 3). */

import { createInterface } from "node:readline";
import { load, Refusal, save, validate } from "./src/statetree.mjs";
import { fromTagged, toTagged } from "./src/tagged.mjs";

const START = {
  protocol: 1,
  implementation: { name: "statetree-javascript", language: "JavaScript", version: "0.1.0" },
  versions: ["1.0"],
  containers: { hdf5: ["read"], zarr: ["read", "write"], "zarr.zip": ["read", "write"], bson: ["read", "write"] },
  verbs: ["load", "validate", "save"],
};

const VERBS = {
  load({ path, limits }) {
    const { tree, digest } = load(path, { limits });
    return { result: "accepted", tree: toTagged(tree), digest };
  },

  validate({ path, limits }) {
    validate(path, { limits });
    return { result: "accepted" };
  },

  save({ path, container, tree }) {
    if (!START.containers[container]?.includes("write")) return { result: "skipped", reason: `${container} is not written` };
    return { result: "accepted", digest: save(path, fromTagged(tree), container, { durable: false }) };
  },
};

/** A refusal as an entry of `problems` (conformance, section 5). */
const problem = ({ code, class: errorClass, path, place, expected, found, remedy, message }) => ({
  code, class: errorClass, severity: "error", phase: "container", rule: null, path, keys: null, place, expected, found, remedy, message,
});

function rejected(refusal, verb) {
  const { code, class: errorClass } = refusal;
  return { result: "rejected", class: errorClass, code, ...(verb === "validate" ? { problems: [problem(refusal)] } : {}) };
}

function run(request) {
  try {
    return VERBS[request.verb](request);
  } catch (error) {
    if (error instanceof Refusal) return rejected(error, request.verb);
    return { result: "errored", reason: String(error.stack ?? error) };
  }
}

function answer(line) {
  const request = JSON.parse(line);
  if (request.cmd === "stop") process.exit(0);
  const reply = request.cmd === "start" ? START : { seq: request.seq, ...run(request) };
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

createInterface({ input: process.stdin }).on("line", answer);
