/** Containers for tests: of trees, and of texts and bytes that no writer makes. */

import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { saveBson } from "../src/bson-save.mjs";
import { crc32 } from "../src/compression.mjs";
import { digest } from "../src/digest.mjs";
import { encodeTree } from "../src/encode.mjs";
import { limitsWith } from "../src/registry.mjs";
import { Dict, Float, Name, Record, Scalar, StateArray, Tuple } from "../src/statetree.mjs";
import { saveZarr } from "../src/zarr-save.mjs";

/** A folder that is gone when the tests of a file are done, unless it is to be kept. */
export const folder = process.env.STATETREE_KEEP ?? mkdtempSync(join(tmpdir(), "statetree-"));
if (process.env.STATETREE_KEEP === undefined) after(() => rmSync(folder, { recursive: true, force: true }));

export const INFO = '{"time":"2026-01-02T03:04:05Z","user":{"dict":["step",7]},"writer":"statetree 1.0.0.dev0"}';
export const GENERATION = "0123456789abcdef";

export const floats = (...numbers) => new Uint8Array(new Float32Array(numbers).buffer);

/** The tree of appendix A. */
export function exampleTree() {
  const w = new StateArray("float32", [2, 3], floats(1, -0, 2, 3, 4, 5));
  const bias = new StateArray("bfloat16", [2], Uint8Array.of(0x00, 0x3f, 0x80, 0xbf));
  return new Dict([
    ["model", new Record("Dense", [["weight", w], ["bias", bias], ["σ", new Tuple()]])],
    ["tied", w],
    ["epoch", 42n],
    ["loss", Float.of(0.125)],
    [0n, null],
    [new Name("opt"), [true, new Scalar("float32", floats(1))]],
  ]);
}

/** What a saver writes of a tree; `changed` replaces parts of it by what no writer makes. */
export function contentOf(tree, changed = {}) {
  const content = encodeTree(tree, "xxh3-128", limitsWith());
  return { ...content, infoBytes: Buffer.from(INFO), ...changed };
}

export const manifestOf = (tree) => encodeTree(tree, "xxh3-128", limitsWith()).manifestBytes.toString();

export function bson(name, content) {
  const path = join(folder, `${name}.bson`);
  saveBson(path, content, { durable: false });
  return path;
}

export function zarr(name, content) {
  const path = join(folder, `${name}.zarr`);
  rmSync(path, { recursive: true, force: true });
  saveZarr(path, content, { durable: false, generation: GENERATION });
  return path;
}

/** Gives a header block its digest again after a change. */
export function sealed(block, algorithm = "xxh3-128") {
  digest(algorithm, block.subarray(0, 480)).copy(block, 480);
}

/** Rewrites a file after a change of its bytes, or with the bytes that the change returns. */
export function changed(path, change) {
  const bytes = readFileSync(path);
  const other = change(bytes);
  writeFileSync(path, other instanceof Uint8Array ? other : bytes);
  return path;
}

/** Files of a folder as [name, bytes], in the order of a writer: the root's metadata last. */
export function filesOf(root) {
  const names = readdirSync(root, { recursive: true }).filter((name) => lstatSync(join(root, name)).isFile()).sort();
  return names.map((name) => [name, readFileSync(join(root, name))]);
}

/**
 * A zip file of stored entries. An entry is [name, bytes, changes]; the changes are to fields of both headers, or of the local one
 * under `local`.
 */
export function zip(name, entries, { before = "", behind = "", comment = "", gap = "" } = {}) {
  const pieces = [Buffer.from(before)];
  const directory = [];
  let at = 0;
  for (const [entryName, bytes, changes = {}] of entries) {
    const fields = { name: entryName, flags: 0, method: 0, crc: crc32([bytes]), packed: bytes.length, size: bytes.length, mode: 0, ...changes };
    const local = localHeader({ ...fields, ...changes.local });
    directory.push(centralHeader(fields, changes.offset ?? at));
    pieces.push(local, Buffer.from(bytes), Buffer.from(changes.gap ?? ""));
    at += local.length + bytes.length + (changes.gap ?? "").length;
  }
  const central = Buffer.concat(directory);
  pieces.push(Buffer.from(gap), central, endRecord(entries.length, central.length, at, comment), Buffer.from(behind));
  const path = join(folder, `${name}.zarr.zip`);
  writeFileSync(path, Buffer.concat(pieces));
  return path;
}

function localHeader({ name, flags, method, crc, packed, size }) {
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  [20, flags, method].forEach((field, at) => header.writeUInt16LE(field, 4 + 2 * at));
  [crc, packed, size].forEach((field, at) => header.writeUInt32LE(field, 14 + 4 * at));
  header.writeUInt16LE(Buffer.byteLength(name), 26);
  return Buffer.concat([header, Buffer.from(name)]);
}

function centralHeader({ name, flags, method, crc, packed, size, mode }, offset) {
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  [0x0314, 20, flags, method].forEach((field, at) => header.writeUInt16LE(field, 4 + 2 * at));
  [crc, packed, size].forEach((field, at) => header.writeUInt32LE(field, 16 + 4 * at));
  header.writeUInt16LE(Buffer.byteLength(name), 28);
  header.writeUInt16LE(mode, 40);
  header.writeUInt32LE(offset, 42);
  return Buffer.concat([header, Buffer.from(name)]);
}

function endRecord(count, size, offset, comment) {
  const record = Buffer.alloc(22);
  record.writeUInt32LE(0x06054b50, 0);
  [count, count].forEach((field, at) => record.writeUInt16LE(field, 8 + 2 * at));
  [size, offset].forEach((field, at) => record.writeUInt32LE(field, 12 + 4 * at));
  record.writeUInt16LE(comment.length, 20);
  return Buffer.concat([record, Buffer.from(comment)]);
}
