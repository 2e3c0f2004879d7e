/** The manifest: its root, the version and the table of arrays (section 4.3). */

import { availableMemory } from "./memory.mjs";
import { ALGORITHMS } from "./digest.mjs";
import { refuse, shown } from "./errors.mjs";
import { parseCanonical } from "./json.mjs";
import { NodeDecoder, jsonType, judgeDtype } from "./node.mjs";
import { StateArray, sizeOf } from "./tree.mjs";

export const VERSION = "1.0";

const PLACE = "manifest";
const RATIO_COUNTS_FROM = 2 ** 32;
const MEMBERS = new Map([["algorithm", "a string"], ["arrays", "a list"], ["features", "a list"], ["statetree", "a string"], ["tree", null]]);
const ENTRY = new Map([["digest", "a string"], ["dtype", "a string"], ["shape", "a list"]]);

/** Refuses a text that is no version, or one of a MAJOR other than 1 ([M-2]). */
export function judgeVersion(text, place) {
  const match = typeof text === "string" ? /^(0|[1-9][0-9]{0,14})\.(0|[1-9][0-9]{0,14})$/.exec(text) : null;
  if (match === null) refuse("VERSION_FORM", "a version MAJOR.MINOR", shown(text), { place });
  if (match[1] !== "1") refuse("VERSION_MAJOR", "version 1", shown(text), { place });
}

/** Refuses a name that is no algorithm of section 6 ([G-1]). */
export function judgeAlgorithm(name, place) {
  if (!ALGORITHMS.has(name)) refuse("DIGEST_ALGORITHM", [...ALGORITHMS.keys()].join(", "), shown(name), { place });
}

/**
 * A manifest from its text: `version`, `algorithm`, `entries` and `tree`. An entry has digest, dtype, shape, size, name and path,
 * and the `array` that stands in the tree, whose bytes are still to be read.
 */
export function decodeManifest(bytes, limits) {
  const root = parseCanonical(bytes, PLACE);
  if (!(root instanceof Map) || !root.has("statetree")) refuse("BAD_MAGIC", "a manifest", "another text", { place: PLACE });
  judgeVersion(root.get("statetree"), PLACE);
  judgeMembers(root, MEMBERS, { place: PLACE });
  judgeFeatures(root.get("features"));
  judgeAlgorithm(root.get("algorithm"), PLACE);
  const entries = decodeTable(root.get("arrays"), ALGORITHMS.get(root.get("algorithm")), limits);
  const tree = new NodeDecoder(entries, limits, PLACE).root(root.get("tree"));
  return { version: root.get("statetree"), algorithm: root.get("algorithm"), entries, tree };
}

/** Refuses an object that has not exactly these members of these types. */
function judgeMembers(object, members, where) {
  for (const name of members.keys()) {
    if (!object.has(name)) refuse("SCHEMA_MISSING", `a member ${name}`, "none", where);
  }
  for (const [name, value] of object) {
    if (!members.has(name)) refuse("SCHEMA_UNKNOWN_KEY", "no other members", shown(name), where);
    const type = members.get(name);
    if (type !== null && jsonType(value) !== type) refuse("SCHEMA_TYPE", `${type} as ${name}`, jsonType(value), where);
  }
}

/** Refuses a list with an item of another type. */
function judgeItems(items, type, where) {
  const wrong = items.find((item) => jsonType(item) !== type);
  if (wrong !== undefined) refuse("SCHEMA_TYPE", `${type} as each item`, jsonType(wrong), where);
}

function judgeFeatures(features) {
  judgeItems(features, "a string", { place: PLACE });
  const sorted = features.every((feature, at) => at === 0 || before(features[at - 1], feature));
  if (!sorted) refuse("FEATURE_FORM", "sorted, unique strings", "others", { place: PLACE });
  if (features.length > 0) refuse("FEATURE_UNKNOWN", "no features", shown(features[0]), { place: PLACE });
}

/** The order of code points, which is that of UTF-8 bytes. */
const before = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;

function decodeTable(table, digestSize, limits) {
  if (table.length > limits.arrays) {
    refuse("LIMIT_ARRAYS", `at most ${limits.arrays} arrays`, `${table.length}`, { place: PLACE });
  }
  return table.map((entry, index) => decodeEntry(entry, digestSize, limits, { place: `${PLACE}, array ${index}` }));
}

function decodeEntry(entry, digestSize, limits, where) {
  if (!(entry instanceof Map)) refuse("SCHEMA_TYPE", "an object", jsonType(entry), where);
  judgeMembers(entry, ENTRY, where);
  const [hex, dtype, shape] = ["digest", "dtype", "shape"].map((name) => entry.get(name));
  if (hex.length !== 2 * digestSize || !/^[0-9a-f]*$/.test(hex)) {
    refuse("SCHEMA_PATTERN", `${2 * digestSize} hexadecimal digits`, shown(hex), where);
  }
  judgeDtype(dtype, where);
  judgeItems(shape, "a number", where);
  const size = judgeShape(dtype, shape, limits, where);
  return { digest: hex, dtype, shape, size, array: new StateArray(dtype, shape, null), name: null, path: null };
}

/** The number of canonical bytes ([E-4]). */
export function judgeShape(dtype, shape, limits, where) {
  if (shape.length > limits.rank) refuse("LIMIT_RANK", `at most ${limits.rank} dimensions`, `${shape.length}`, where);
  const wrong = shape.find((extent) => !Number.isSafeInteger(extent) || extent < 0);
  if (wrong !== undefined) refuse("ARRAY_SHAPE", "extents from 0 to 2^53−1", shown(wrong), where);
  const filled = sizeOf(dtype, shape.filter((extent) => extent > 0));
  const size = sizeOf(dtype, shape);
  if (filled >= 2n ** 63n || size > BigInt(Number.MAX_SAFE_INTEGER)) {
    refuse("ARRAY_SHAPE", "at most 2^53−1 bytes", `${filled}`, where);
  }
  return Number(size);
}

/** Holds the bytes of all arrays against the limits ([L-1], [L-2]); only a program that keeps them all asks for memory. */
export function judgeTotals({ entries }, store, limits, keeps) {
  const total = entries.reduce((sum, entry) => sum + BigInt(entry.size), 0n);
  const allowed = limits.total_bytes ?? (keeps ? Math.floor(availableMemory() / 2) : Infinity);
  if (total > allowed) refuse("LIMIT_BYTES", `at most ${allowed} bytes of arrays`, `${total}`, { place: PLACE });
  if (total > RATIO_COUNTS_FROM && total > BigInt(limits.ratio) * BigInt(store.storedBytes)) {
    refuse("LIMIT_RATIO", `at most ${limits.ratio} times the bytes stored`, `${total} bytes of arrays`, { place: PLACE });
  }
}
