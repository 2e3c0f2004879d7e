/** All vectors of the specification whose bytes need no recipe: outcome, tree, digest, class and code (conformance, [T-4]). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, validate } from "../src/statetree.mjs";
import { toTagged } from "../src/tagged.mjs";
import { placeOf, vectors } from "./vectors.mjs";

/** Vectors that this implementation answers otherwise, since they go against a rule: id -> {verb: code}. One that passes fails here. */
const DISPUTED = {
  // [Z-4] and [Z-11]: the empty array is in no pack, so that a validator misses its metadata.
  "zarr-packs": { validate: "ARRAY_MISSING" },
  "zarr-packs-gzip": { validate: "ARRAY_MISSING" },
  "zarr-packs-mixed": { validate: "ARRAY_MISSING" },
  "zarr-packs-zstd": { validate: "ARRAY_MISSING" },
};

const VERBS = { load, validate };

function judge(act) {
  try {
    return { outcome: "accept", ...act() };
  } catch (refusal) {
    if (refusal.class === undefined) throw refusal;
    return { outcome: "refuse", class: refusal.class, code: refusal.code };
  }
}

function assertExpected(found, { outcome, class: errorClass, code, also = [] }) {
  assert.equal(found.outcome, outcome, `${found.code} in place of ${code}`);
  if (outcome === "accept") return;
  assert.equal(found.class, errorClass, `${found.code} in place of ${code}`);
  assert.ok([code, ...also].includes(found.code), `${found.code} in place of ${code}`);
}

for (const vector of vectors().filter(({ bytes }) => bytes.recipe === undefined)) {
  test(`${vector.kind} ${vector.id}`, () => {
    const path = placeOf(vector);
    for (const [verb, expected] of Object.entries(vector.expect)) {
      const found = judge(() => VERBS[verb](path, { limits: vector.limits }));
      const disputed = DISPUTED[vector.id]?.[verb];
      if (disputed !== undefined) assert.equal(found.code, disputed);
      else assertExpected(found, expected);
      if (found.outcome !== "accept" || vector.digest === undefined) continue;
      assert.equal(found.digest, vector.digest);
      if (verb === "load") assert.deepEqual(toTagged(found.tree), vector.tree);
    }
  });
}
