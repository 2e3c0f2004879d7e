/** All vectors of the specification whose bytes need no recipe: outcome, tree, digest, class and code (conformance, [T-4]). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CODES } from "../src/registry.mjs";
import { load, validate } from "../src/statetree.mjs";
import { toTagged } from "../src/tagged.mjs";
import { placeOf, vectors } from "./vectors.mjs";

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
  assert.ok([code, ...also].includes(found.code), `${found.code} in place of ${code}`);
  assert.equal(found.class, found.code === code ? errorClass : CODES.get(found.code));
}

for (const vector of vectors().filter(({ bytes }) => bytes.recipe === undefined)) {
  test(`${vector.kind} ${vector.id}`, () => {
    const path = placeOf(vector);
    for (const [verb, expected] of Object.entries(vector.expect)) {
      const found = judge(() => VERBS[verb](path, { limits: vector.limits }));
      assertExpected(found, expected);
      if (found.outcome !== "accept" || vector.digest === undefined) continue;
      assert.equal(found.digest, vector.digest);
      if (verb === "load") assert.deepEqual(toTagged(found.tree), vector.tree);
    }
  });
}
