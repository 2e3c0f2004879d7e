/** Zarr folders and zip files that a reader or a validator refuses: name -> {make, load, validate}, with the codes (null: accepted). */

import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { crc32c } from "../src/compression.mjs";
import { Dict, StateArray } from "../src/statetree.mjs";
import { changed, contentOf, exampleTree, filesOf, floats, GENERATION, zarr, zip } from "./making.mjs";

const WEIGHT = `${GENERATION}/arrays/0-model.weight`;
const BIAS = `${GENERATION}/arrays/1-model.bias`;

/** The example folder after a change. */
const folder = (change) => (name) => {
  const path = zarr(name, contentOf(exampleTree()));
  change((file) => join(path, file), path);
  return path;
};

/** After a change of the text of a file. */
const text = (file, change) => folder((at) => changed(at(file), (bytes) => Buffer.from(change(bytes.toString()))));

const replaced = (file, from, to) =>
  text(file, (before) => {
    const after = before.replace(from, to);
    if (after === before) throw new Error(`${file} has no ${from}`);
    return after;
  });

/** A folder of more than 1,000 small arrays, after a change. */
const packed = (change = () => {}) => (name) => {
  const arrays = Array.from({ length: 1001 }, (_, at) => [`w${at}`, new StateArray("float32", [at % 7 + 1], floats(...Array(at % 7 + 1).fill(at)))]);
  const path = zarr(name, contentOf(new Dict(arrays)));
  change((file) => join(path, GENERATION, file));
  return path;
};

const row = (number, ...fields) => packed((at) => changed(at("packs/index/c/0"), (bytes) => {
  fields.forEach((field, position) => field === null || bytes.writeBigUInt64LE(BigInt(field), 24 * number + 8 * position));
}));

/** The entries of the example as a zip file, after a change of the list. */
const zipped = (change = (entries) => entries, options) => (name) => {
  const path = zarr(name, contentOf(exampleTree()));
  const made = zip(name, change(filesOf(path)), options);
  rmSync(path, { recursive: true });
  return made;
};

const entry = (at, changes) => zipped((entries) => entries.map(([name, bytes], index) => [name, bytes, index === at ? changes : {}]));

const added = (name, bytes = "x", changes = {}) => zipped((entries) => [...entries, [name, Buffer.from(bytes), changes]]);

const checksum = (bytes) => {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32c([bytes]));
  return Buffer.concat([bytes, sum]);
};

const both = (make, code) => ({ make, load: code, validate: code });
const only = (make, code) => ({ make, load: null, validate: code });

const ROOT = "zarr.json";
const meta = (array) => `${array}/zarr.json`;
const codec = (json) => replaced(meta(WEIGHT), /"codecs":\[.*\],"attributes"/, `"codecs":${json},"attributes"`);
const LITTLE = '{"name":"bytes","configuration":{"endian":"little"}}';

/** One chunk of the weight in a different form, beside the codecs that say so. */
const stored = (codecs, change) => (name) => {
  const path = codec(codecs)(name);
  changed(join(path, WEIGHT, "c.0.0"), change);
  return path;
};

export const ZARR = {
  "plain": both(folder(() => {}), null),
  "no-root": both(folder((at) => rmSync(at(ROOT))), "UNCOMMITTED"),
  "no-root-but-another-file": both(folder((at) => { rmSync(at(ROOT)); writeFileSync(at("notes.txt"), "x"); }), "NOT_STATETREE"),
  "empty-folder": both(folder((at) => { rmSync(at(ROOT)); rmSync(at(GENERATION), { recursive: true }); }), "NOT_STATETREE"),
  "foreign-root": both(text(ROOT, () => '{"zarr_format":3,"node_type":"group","attributes":{}}'), "NOT_STATETREE"),
  "link-as-root-metadata": both(folder((at) => { renameSync(at(ROOT), at("x")); symlinkSync("x", at(ROOT)); }), "FS_LINK"),
  "generation-missing": both(folder((at) => rmSync(at(GENERATION), { recursive: true })), "UNCOMMITTED"),
  "generation-is-a-file": both(folder((at) => { rmSync(at(GENERATION), { recursive: true }); writeFileSync(at(GENERATION), ""); }), "UNCOMMITTED"),
  "generation-is-a-link": both(folder((at) => { renameSync(at(GENERATION), at("x")); symlinkSync("x", at(GENERATION)); }), "FS_LINK"),
  "root-is-no-json": both(text(ROOT, (all) => all.slice(0, -1)), "JSON_SYNTAX"),
  "root-with-a-member-twice": both(replaced(ROOT, "{", '{"node_type":"group",'), "JSON_DUPLICATE_KEY"),
  "root-of-format-2": both(replaced(ROOT, ":3", ":2"), "Z_FORMAT"),
  "root-of-format-3.0": both(replaced(ROOT, ":3", ":3.0"), "JSON_NUMBER_FORM"),
  "root-is-an-array": both(replaced(ROOT, '"group"', '"array"'), "Z_METADATA"),
  "root-with-another-member": both(replaced(ROOT, '"attributes"', '"extra":{},"attributes"'), "Z_METADATA"),
  "root-with-a-member-to-ignore": both(replaced(ROOT, '"attributes"', '"extra":{"must_understand":false},"attributes"'), null),
  "root-with-other-attributes": both(replaced(ROOT, '"statetree"', '"else":1,"statetree"'), null),
  "root-attribute-is-a-text": both(text(ROOT, () => '{"zarr_format":3,"node_type":"group","attributes":{"statetree":"1.0"}}'), "Z_METADATA"),
  "root-version-form": both(replaced(ROOT, '"1.0"', '"1"'), "VERSION_FORM"),
  "root-version-is-a-number": both(replaced(ROOT, '"1.0"', "1"), "VERSION_FORM"),
  "root-major-2": both(replaced(ROOT, '"1.0"', '"2.0"'), "VERSION_MAJOR"),
  "root-minor-7": only(replaced(ROOT, '"1.0"', '"1.7"'), "BACKEND_MISMATCH"),
  "root-without-info": both(replaced(ROOT, /,"info":"[0-9a-f]*"/, ""), "Z_METADATA"),
  "root-with-one-more": both(replaced(ROOT, '"version"', '"more":"","version"'), "Z_METADATA"),
  "root-unknown-algorithm": both(replaced(ROOT, "xxh3-128", "md5"), "DIGEST_ALGORITHM"),
  "root-other-algorithm": both(replaced(ROOT, "xxh3-128", "sha-256"), "Z_METADATA"),
  "root-generation-in-upper-case": both(replaced(ROOT, GENERATION, GENERATION.toUpperCase()), "Z_METADATA"),
  "root-generation-outside": both(replaced(ROOT, GENERATION, "../../../../etc/"), "Z_METADATA"),
  "root-wrong-manifest-digest": both(replaced(ROOT, '"manifest":"73', '"manifest":"74'), "MANIFEST_DIGEST"),
  "root-wrong-info-digest": both(replaced(ROOT, '"info":"98', '"info":"99'), "INFO_DIGEST"),

  "no-manifest": both(folder((at) => rmSync(at(`${GENERATION}/manifest/c/0`))), "ARRAY_MISSING_CHUNK"),
  "no-info": both(folder((at) => rmSync(at(`${GENERATION}/info/c/0`))), "ARRAY_MISSING_CHUNK"),
  "manifest-is-a-link": both(folder((at) => { renameSync(at(`${GENERATION}/manifest/c/0`), at("x")); symlinkSync("../../../x", at(`${GENERATION}/manifest/c/0`)); }), "FS_LINK"),
  "manifest-is-a-fifo": both(folder((at) => { rmSync(at(`${GENERATION}/manifest/c/0`)); execFileSync("mkfifo", [at(`${GENERATION}/manifest/c/0`)]); }), "FS_SPECIAL"),
  "arrays-is-a-link": both(folder((at) => { renameSync(at(`${GENERATION}/arrays`), at("x")); symlinkSync("../x", at(`${GENERATION}/arrays`)); }), "FS_LINK"),
  "arrays-is-a-file": both(folder((at) => { rmSync(at(`${GENERATION}/arrays`), { recursive: true }); writeFileSync(at(`${GENERATION}/arrays`), ""); }), "ARRAY_MISSING"),
  "no-array": both(folder((at) => rmSync(at(BIAS), { recursive: true })), "ARRAY_MISSING"),
  "no-chunk": both(folder((at) => rmSync(at(`${BIAS}/c.0`))), "ARRAY_MISSING_CHUNK"),
  "chunk-too-short": both(folder((at) => changed(at(`${BIAS}/c.0`), (bytes) => bytes.subarray(1))), "ARRAY_NBYTES"),
  "chunk-too-long": both(folder((at) => changed(at(`${BIAS}/c.0`), (bytes) => Buffer.concat([bytes, Buffer.of(0)]))), "ARRAY_NBYTES"),
  "chunk-with-another-bit": both(folder((at) => changed(at(`${BIAS}/c.0`), (bytes) => (bytes[0] ^= 1))), "DIGEST"),

  "array-is-a-group": both(replaced(meta(BIAS), '"array"', '"group"'), "Z_METADATA"),
  "array-of-another-shape": both(replaced(meta(BIAS), '"shape":[2]', '"shape":[3]'), "BACKEND_MISMATCH"),
  "array-of-a-shape-of-points": both(replaced(meta(BIAS), '"shape":[2]', '"shape":[2.0]'), "BACKEND_MISMATCH"),
  "array-of-another-type": both(replaced(meta(WEIGHT), '"float32"', '"int32"'), "BACKEND_MISMATCH"),
  "carrier-without-attribute": both(replaced(meta(BIAS), '{"statetree":{"dtype":"bfloat16"}}', "{}"), "BACKEND_MISMATCH"),
  "carrier-of-another-dtype": both(replaced(meta(BIAS), "bfloat16", "float16"), "BACKEND_MISMATCH"),
  "carrier-where-none": both(replaced(meta(WEIGHT), '"attributes":{}', '"attributes":{"statetree":{"dtype":"float32"}}'), "BACKEND_MISMATCH"),
  "other-attributes": both(replaced(meta(WEIGHT), '"attributes":{}', '"attributes":{"units":"m"},"dimension_names":["a",null]'), null),
  "fill-of-one": both(replaced(meta(WEIGHT), '"fill_value":0.0', '"fill_value":1'), "Z_FILL"),
  "fill-of-minus-zero": both(replaced(meta(WEIGHT), '"fill_value":0.0', '"fill_value":-0.0'), "Z_FILL"),
  "fill-of-an-integer": both(replaced(meta(WEIGHT), '"fill_value":0.0', '"fill_value":0'), null),
  "fill-of-a-point-for-integers": both(replaced(meta(BIAS), '"fill_value":0', '"fill_value":0.0'), "Z_FILL"),
  "fill-of-false-for-integers": both(replaced(meta(BIAS), '"fill_value":0', '"fill_value":false'), "Z_FILL"),
  "fill-of-nan": both(replaced(meta(WEIGHT), '"fill_value":0.0', '"fill_value":"NaN"'), "Z_FILL"),
  "no-fill": both(replaced(meta(WEIGHT), '"fill_value":0.0,', ""), "Z_FILL"),
  "chunks-along-the-second-axis": both(replaced(meta(WEIGHT), '"chunk_shape":[2,3]', '"chunk_shape":[2,1]'), "Z_METADATA"),
  "chunks-longer-than-the-array": both(replaced(meta(WEIGHT), '"chunk_shape":[2,3]', '"chunk_shape":[3,3]'), "Z_METADATA"),
  "chunks-of-nothing": both(replaced(meta(WEIGHT), '"chunk_shape":[2,3]', '"chunk_shape":[0,3]'), "Z_METADATA"),
  "another-grid": both(replaced(meta(WEIGHT), '"regular"', '"rectangular"'), "Z_METADATA"),
  "grid-as-a-text": both(replaced(meta(WEIGHT), /"chunk_grid":\{.*\}\},"chunk_key/, '"chunk_grid":"regular","chunk_key'), "Z_METADATA"),
  "another-key-encoding": both(replaced(meta(WEIGHT), '"default"', '"v2"'), "Z_METADATA"),
  "another-separator": both(replaced(meta(WEIGHT), '"separator":"."', '"separator":"-"'), "Z_METADATA"),
  "separator-left-out": both(folder((at) => {
    changed(at(meta(BIAS)), (bytes) => Buffer.from(bytes.toString().replace('{"name":"default","configuration":{"separator":"."}}', '{"name":"default"}')));
    mkdirSync(at(`${BIAS}/c`));
    renameSync(at(`${BIAS}/c.0`), at(`${BIAS}/c/0`));
  }), null),
  "another-member": both(replaced(meta(WEIGHT), '"attributes":{}', '"attributes":{},"order":"C"'), "Z_METADATA"),
  "storage-transformers": both(replaced(meta(WEIGHT), '"attributes":{}', '"attributes":{},"storage_transformers":[{"name":"x"}]'), "Z_CODEC"),
  "no-storage-transformers": both(replaced(meta(WEIGHT), '"attributes":{}', '"attributes":{},"storage_transformers":[]'), null),
  "codecs-of-nothing": both(codec("[]"), "Z_METADATA"),
  "codecs-as-texts": both(codec('["bytes"]'), "Z_METADATA"),
  "bytes-of-another-order": both(codec('[{"name":"bytes","configuration":{"endian":"big"}}]'), "Z_METADATA"),
  "bytes-without-order": both(codec('[{"name":"bytes"}]'), "Z_METADATA"),
  "transposed": both(codec(`[{"name":"transpose","configuration":{"order":[1,0]}},${LITTLE}]`), "Z_METADATA"),
  "sharded": both(codec('[{"name":"sharding_indexed","configuration":{}}]'), "Z_METADATA"),
  "blosc": both(codec(`[${LITTLE},{"name":"blosc","configuration":{}}]`), "Z_CODEC"),
  "rounding": both(codec(`[{"name":"numcodecs.bitround","configuration":{}},${LITTLE}]`), "Z_LOSSY_CODEC"),
  "compressed-twice": both(codec(`[${LITTLE},{"name":"gzip","configuration":{"level":5}},{"name":"gzip","configuration":{"level":5}}]`), "Z_METADATA"),
  "checked-before-compressed": both(codec(`[${LITTLE},{"name":"crc32c"},{"name":"gzip","configuration":{"level":5}}]`), "Z_METADATA"),
  "gzip": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}}]`, (bytes) => gzipSync(bytes)), null),
  "gzip-of-two-members": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}}]`, (bytes) => Buffer.concat([gzipSync(bytes.subarray(0, 8)), gzipSync(bytes.subarray(8))])), "DIGEST"),
  "gzip-with-bytes-behind": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}}]`, (bytes) => Buffer.concat([gzipSync(bytes), Buffer.of(0)])), "DIGEST"),
  "gzip-of-more": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}}]`, (bytes) => gzipSync(Buffer.concat([bytes, bytes]))), "DIGEST"),
  "gzip-of-less": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}}]`, (bytes) => gzipSync(bytes.subarray(1))), "DIGEST"),
  "gzip-that-is-cut": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}}]`, (bytes) => gzipSync(bytes).subarray(0, -4)), "DIGEST"),
  "gzip-of-another-crc": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}}]`, (bytes) => { const all = gzipSync(bytes); all[all.length - 8] ^= 1; return all; }), "DIGEST"),
  "crc32c": both(stored(`[${LITTLE},{"name":"crc32c"}]`, checksum), null),
  "crc32c-of-gzip": both(stored(`[${LITTLE},{"name":"gzip","configuration":{"level":5}},{"name":"crc32c"}]`, (bytes) => checksum(gzipSync(bytes))), null),
  "another-crc32c": both(stored(`[${LITTLE},{"name":"crc32c"}]`, (bytes) => Buffer.concat([bytes, Buffer.alloc(4)])), "DIGEST"),
  "metadata-above-1-MiB": both(text(meta(BIAS), (all) => all + " ".repeat(2 ** 20)), "Z_METADATA"),

  "no-metadata-of-a-text": only(folder((at) => rmSync(at(`${GENERATION}/info/zarr.json`))), "Z_METADATA"),
  "no-metadata-of-a-group": only(folder((at) => rmSync(at(`${GENERATION}/arrays/zarr.json`))), "Z_METADATA"),
  "text-of-another-shape": only(replaced(`${GENERATION}/info/zarr.json`, /"shape":\[\d+\]/, '"shape":[5]'), "Z_METADATA"),
  "text-of-another-separator": only(replaced(`${GENERATION}/info/zarr.json`, '"separator":"/"', '"separator":"."'), "Z_METADATA"),
  "group-of-format-2": only(replaced(`${GENERATION}/arrays/zarr.json`, ":3", ":2"), "Z_FORMAT"),
  "stray-array": only(folder((at) => execFileSync("cp", ["-r", at(BIAS), at(`${GENERATION}/arrays/9-x`)])), "ARRAY_STRAY"),
  "stray-file": only(folder((at) => writeFileSync(at(`${GENERATION}/x`), "")), "CONTAINER_EXTRA"),
  "stray-chunk": only(folder((at) => writeFileSync(at(`${BIAS}/c.1`), "")), "CONTAINER_EXTRA"),
  "stray-file-in-the-root": only(folder((at) => writeFileSync(at("x"), "")), "CONTAINER_EXTRA"),
  "another-generation": both(folder((at) => { mkdirSync(at("f".repeat(16))); }), null),
  "temporary-file": both(folder((at) => writeFileSync(at("x.statetree-tmp"), "")), null),
  "files-of-version-2": only(folder((at) => writeFileSync(at(`${GENERATION}/.zgroup`), "{}")), "Z_MIXED"),
  "files-of-version-2-in-the-root": only(folder((at) => writeFileSync(at(".zattrs"), "{}")), "Z_MIXED"),
  "consolidated-of-nothing": only(text(ROOT, (all) => `${all.slice(0, -1)},"consolidated_metadata":{"kind":"inline","must_understand":false,"metadata":{}}}`), "Z_CONSOLIDATED"),
  "consolidated-otherwise": only(
    text(ROOT, (all) => `${all.slice(0, -1)},"consolidated_metadata":{"kind":"inline","must_understand":false,"metadata":{"${GENERATION}":{"zarr_format":3,"node_type":"group","attributes":{"a":1}}}}}`),
    "Z_CONSOLIDATED",
  ),

  "packs": both(packed(), null),
  "pack-index-of-another-size": both(packed((at) => changed(at("packs/index/c/0"), (bytes) => bytes.subarray(24))), "Z_METADATA"),
  "no-pack": both(packed((at) => rmSync(at("packs/0"), { recursive: true })), "ARRAY_MISSING"),
  "no-pack-chunk": both(packed((at) => rmSync(at("packs/0/c/0"))), "ARRAY_MISSING"),
  "pack-too-short": both(packed((at) => changed(at("packs/0/c/0"), (bytes) => bytes.subarray(1))), "ARRAY_NBYTES"),
  "pack-of-another-separator": both(packed((at) => changed(at("packs/0/zarr.json"), (bytes) => Buffer.from(bytes.toString().replace('"separator":"/"', '"separator":"."')))), "Z_METADATA"),
  "pack-with-crc32c": both(packed((at) => changed(at("packs/0/zarr.json"), (bytes) => Buffer.from(bytes.toString().replace('[{"name":"bytes"}]', '[{"name":"bytes"},{"name":"crc32c"}]')))), "Z_METADATA"),
  "row-of-no-pack": both(row(5, 9), "ARRAY_MISSING"),
  "row-of-another-size": both(row(5, null, null, 3), "BACKEND_MISMATCH"),
  "row-behind-the-pack": both(row(5, null, 2 ** 24), "BACKEND_MISMATCH"),
  "row-behind-all-numbers": both(row(5, null, 2n ** 64n - 1n), "BACKEND_MISMATCH"),
  "row-in-place-of-another": both(row(7, null, 0), "DIGEST"),
  "row-not-packed": both(row(5, 0, 0, 0), "ARRAY_MISSING"),
  "bytes-between-rows": only(packed((at) => changed(at("packs/0/c/0"), (bytes) => (bytes[63] = 1))), "Z_METADATA"),
  "pack-without-metadata-of-the-group": only(packed((at) => rmSync(at("packs/zarr.json"))), "Z_METADATA"),
};


export const ZIP = {
  "plain": both(zipped(), null),
  "folder-entries": both(zipped((entries) => [[`${GENERATION}/`, Buffer.alloc(0), { mode: 0x41ed }], ...entries]), null),
  "root-first": both(zipped((entries) => [entries.at(-1), ...entries.slice(0, -1)]), null),
  "no-root": both(zipped((entries) => entries.slice(0, -1)), "UNCOMMITTED"),
  "no-metadata-of-the-generation": both(zipped((entries) => entries.filter(([name]) => name !== `${GENERATION}/zarr.json`)), "UNCOMMITTED"),
  "other-entries-only": both(zipped(() => [["a.txt", Buffer.from("x")]]), "NOT_STATETREE"),
  "comment": both(zipped((all) => all, { comment: "hello" }), "POLYGLOT"),
  "bytes-behind-it": both(zipped((all) => all, { behind: "x" }), "POLYGLOT"),
  "bytes-before-it": both(zipped((all) => all, { before: "#!/bin/sh\n" }), "POLYGLOT"),
  "bytes-before-the-directory": both(zipped((all) => all, { gap: "hello" }), "POLYGLOT"),
  "no-end-record": both((name) => changed(zipped()(name), (bytes) => bytes.subarray(0, -30)), "CONTAINER_TRUNCATED"),
  "entry-twice": both(zipped((entries) => [...entries, entries[0]]), "ZIP_DUPLICATE"),
  "absolute-name": both(added("/etc/passwd"), "ZIP_PATH"),
  "name-with-dots": both(added("../x"), "ZIP_PATH"),
  "name-with-a-backslash": both(added("a\\b"), "ZIP_PATH"),
  "name-with-nul": both(added("a\0b"), "ZIP_PATH"),
  "encrypted": both(entry(0, { flags: 1 }), "ZIP_ENCRYPTED"),
  "link": both(entry(0, { mode: 0xa1ff }), "FS_LINK"),
  "fifo": both(entry(0, { mode: 0x11ff }), "FS_SPECIAL"),
  "compressed": both(entry(0, { method: 8 }), "ZIP_FORM"),
  "local-name": both(entry(0, { local: { name: `${GENERATION}/arrays/0-model.weight/c.0.1` } }), "ZIP_FORM"),
  "local-size": both(entry(0, { local: { size: 3 } }), "ZIP_FORM"),
  "local-method": both(entry(0, { local: { method: 8 } }), "ZIP_FORM"),
  "overlap": both(entry(1, { offset: 10 }), "ZIP_FORM"),
  "another-crc": only(entry(0, { crc: 1 }), "ZIP_CRC"),
  "bytes-between": only(entry(0, { gap: "hello" }), "ZIP_FORM"),
  "entry-outside": only(added("notes.txt"), "CONTAINER_EXTRA"),
  "entry-in-the-generation": only(added(`${GENERATION}/notes.txt`), "CONTAINER_EXTRA"),
  "stray-array": only(added(`${GENERATION}/arrays/9-x/zarr.json`, "{}"), "ARRAY_STRAY"),
  "empty-component": only(added("x//y"), "ZIP_PATH"),
  "folder-with-bytes": only(added(`${GENERATION}/arrays/`), "ZIP_FORM"),
  "bytes-of-the-manifest": both(zipped((entries) => entries.map(([name, bytes]) => [name, name.endsWith("manifest/c/0") ? Buffer.from(bytes.toString().replace("Dense", "dense")) : bytes])), "MANIFEST_DIGEST"),
};
