/** The three verbs: `load`, `validate` and `save` (sections 7.2 and 9). */

import { validateBson } from "./bson-validate.mjs";
import { BsonReader } from "./bson.mjs";
import { saveBson } from "./bson-save.mjs";
import { ALGORITHMS, ArrayDigest, blockCount, digest, treeDigest } from "./digest.mjs";
import { encodeTree, encodeUser } from "./encode.mjs";
import { refuse, shown } from "./errors.mjs";
import { validateHdf5 } from "./hdf5-validate.mjs";
import { Hdf5Reader } from "./hdf5.mjs";
import { decodeInfo, encodeInfo } from "./info.mjs";
import { decodeManifest, judgeAlgorithm, judgeTotals } from "./manifest.mjs";
import { openContainer } from "./open.mjs";
import { limitsWith } from "./registry.mjs";
import { Dict, judgeElements } from "./tree.mjs";
import { saveZarr, saveZarrZip } from "./zarr-save.mjs";
import { validateZarr } from "./zarr-validate.mjs";

export { Refusal } from "./errors.mjs";
export { pathText } from "./path.mjs";
export * from "./tree.mjs";

const WRITER = "statetree-javascript 0.1.0";
const LARGEST_ARRAY = 2 ** 32;
const SAVERS = new Map([["bson", saveBson], ["zarr", saveZarr], ["zarr.zip", saveZarrZip]]);

/** What a container holds: `tree`, `digest` and `info`. Every byte is held against its digest. */
export function load(path, { limits } = {}) {
  return reading(path, limits, true, (reader, manifest, info) => {
    for (const [index, entry] of manifest.entries.entries()) entry.array.bytes = readArray(reader, manifest, index);
    return { tree: manifest.tree, digest: treeDigest(manifest.algorithm, reader.manifestBytes), info };
  });
}

/** Judges all that `load` judges and then the rest of the container, keeping nothing of it; returns its tree digest. */
export function validate(path, { limits } = {}) {
  return reading(path, limits, false, (reader, manifest) => {
    manifest.entries.forEach((_, index) => judgeArray(reader, manifest, index, () => {}));
    validateContainer(reader, manifest);
    return { digest: treeDigest(manifest.algorithm, reader.manifestBytes) };
  });
}

/**
 * Saves a tree as `zarr`, `zarr.zip` or `bson`, all or nothing, and returns its digest. `user` is a Dict that is kept in the info text;
 * `time` and `writer` are what that says; `generation` names the one of a Zarr hierarchy.
 */
export function save(path, tree, container, options = {}) {
  const { algorithm = "xxh3-128", user = new Dict(), time = now(), writer = WRITER, durable = true, generation } = options;
  const saver = SAVERS.get(container);
  if (saver === undefined) refuse("BACKEND_UNKNOWN", [...SAVERS.keys()].join(" or "), shown(container));
  judgeAlgorithm(algorithm, null);
  const limits = limitsWith(options.limits);
  const content = encodeTree(tree, algorithm, limits);
  const infoBytes = encodeInfo(time, writer, encodeUser(user, limits));
  if (infoBytes.length > limits.info_bytes) refuse("LIMIT_MANIFEST", `at most ${limits.info_bytes} bytes`, `${infoBytes.length}`, { place: "info" });
  decodeInfo(infoBytes, limits);
  saver(path, { ...content, infoBytes }, { durable, generation });
  return treeDigest(algorithm, content.manifestBytes);
}

const now = () => new Date().toISOString().replace(/\.[0-9]+Z$/, "Z");

/** The order of decisions ([R-1]) that load and validate have in common. */
function reading(path, givenLimits, keeps, act) {
  const limits = limitsWith(givenLimits);
  const reader = openContainer(path, limits);
  try {
    const manifest = decodeManifest(reader.manifestBytes, limits);
    const info = decodeInfo(reader.infoBytes, limits);
    judgeTotals(manifest, reader, limits, keeps);
    reader.bind(manifest);
    judgeBlocks(reader, manifest, !keeps);
    return act(reader, manifest, info);
  } finally {
    reader.close();
  }
}

/** Holds the joined block digests of each array against the manifest ([G-3]). */
function judgeBlocks(reader, { algorithm, entries }, always) {
  const size = ALGORITHMS.get(algorithm);
  const counts = entries.map((entry) => blockCount(entry.size));
  const total = counts.reduce((sum, count) => sum + count * size, 0);
  if (total === 0 && !always) return;
  const blocks = reader.blocks(total);
  let at = 0;
  entries.forEach((entry, index) => {
    const own = blocks.subarray(at, (at += counts[index] * size));
    if (own.length > 0 && digest(algorithm, own).toString("hex") !== entry.digest) {
      refuse("BLOCK_DIGEST", "block digests with the digest of the array", "others", { path: entry.path, place: "blocks" });
    }
  });
}

function readArray(reader, manifest, index) {
  const { size, path } = manifest.entries[index];
  if (size > LARGEST_ARRAY) refuse("LIMIT_BYTES", `arrays of at most ${LARGEST_ARRAY} bytes`, `${size}`, { path });
  const bytes = new Uint8Array(size);
  judgeArray(reader, manifest, index, (piece, at) => bytes.set(piece, at));
  return bytes;
}

/** Gives the pieces of an array to `keep`, with their places, from the first way to it that has its digest and elements of its dtype. */
function judgeArray(reader, { algorithm, entries }, index, keep) {
  const { digest: recorded, size, dtype, path, name: place } = entries[index];
  for (const pieces of size > 0 ? reader.ways(index) : [[]]) {
    const found = new ArrayDigest(algorithm);
    let wrongElement = null;
    let at = 0;
    for (const piece of pieces) {
      found.update(piece);
      wrongElement ??= refusalOf(() => judgeElements(dtype, piece, { path, place }));
      keep(piece, at);
      at += piece.length;
    }
    if (found.finish().hex !== recorded) continue;
    if (wrongElement !== null) throw wrongElement;
    return;
  }
  refuse("DIGEST", "the recorded digest", "another", { path, place });
}

function refusalOf(act) {
  try {
    act();
    return null;
  } catch (refusal) {
    return refusal;
  }
}

function validateContainer(reader, manifest) {
  if (reader instanceof BsonReader) validateBson(reader, manifest);
  else if (reader instanceof Hdf5Reader) validateHdf5(reader, manifest);
  else validateZarr(reader, manifest);
}
