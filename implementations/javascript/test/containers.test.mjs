/** What readers and validators refuse of each container, by its code (section 7). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, validate } from "../src/statetree.mjs";
import { BSON } from "./bson-cases.mjs";
import { ZARR, ZIP } from "./zarr-cases.mjs";

const codeOf = (act) => {
  try {
    act();
    return null;
  } catch (refusal) {
    if (refusal.code === undefined || refusal.class === undefined) throw refusal;
    return refusal.code;
  }
};

for (const [container, cases] of Object.entries({ bson: BSON, zarr: ZARR, zip: ZIP })) {
  for (const [name, { make, load: loads, validate: validates }] of Object.entries(cases)) {
    test(`${container}: ${name}`, () => {
      const path = make(`${container}-${name}`);
      assert.equal(codeOf(() => load(path)), loads, "load");
      assert.equal(codeOf(() => validate(path)), validates, "validate");
    });
  }
}
