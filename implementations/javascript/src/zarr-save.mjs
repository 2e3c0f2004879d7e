/** Zarr folders as a writer makes them: a new generation, then the root that names it ([Z-1] to [Z-7]). */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { hexDigest } from "./digest.mjs";
import { refuse, shown } from "./errors.mjs";
import {
  closeFolder, createFile, createFolder, namesIn, removeFolder, removeIfEmpty, replaceFile, syncFolder, typeBehindLinks, typeOf,
} from "./files.mjs";
import { lockFolder } from "./lock.mjs";
import { VERSION } from "./manifest.mjs";
import { DTYPES } from "./registry.mjs";
import { chunkKey, decodeRoot, ROOT, rootText, ROW } from "./zarr.mjs";
import { FolderStore, isGeneration, isTemporary } from "./zarr-store.mjs";

const SMALL = 65_536;
const MANY = 1000;
const PACK = 2 ** 24;
const ALIGNED = 64;
const FILL = { bool: "false", integer: "0", float: "0.0", complex: "[0.0,0.0]" };
const GROUP = { zarr_format: 3, node_type: "group", attributes: {} };

export function saveZarr(path, content, { durable, generation = randomBytes(8).toString("hex") }) {
  const isNew = typeBehindLinks(path) === null;
  if (isNew) createFolder(path);
  else judgeFolder(path);
  const folder = join(path, generation);
  createFolder(folder);
  const lock = lockFolder(folder, false);
  try {
    new Writer(folder, content, durable).write();
    commit(path, content, generation, durable);
  } catch (error) {
    removeFolder(folder);
    if (isNew) removeIfEmpty(path);
    throw error;
  } finally {
    closeFolder(lock);
  }
  removeOthers(path, generation);
}

/** A save replaces nothing but what is of this format ([Z-3]). */
function judgeFolder(path) {
  if (typeBehindLinks(path) !== "dir") refuse("USAGE", "a folder, or nothing", "a file", { place: path });
  const foreign = namesIn(path).find((name) => name !== ROOT && !isTemporary(name) && !isGeneration(path, name));
  if (foreign !== undefined) refuse("USAGE", "a folder of this format", shown(foreign), { place: path });
  if (typeOf(join(path, ROOT)) === null) return;
  const bytes = rootText(new FolderStore(path));
  if (bytes === null) refuse("USAGE", "a folder of this format", "another root zarr.json", { place: path });
}

function commit(path, { manifest, manifestBytes, infoBytes }, generation, durable) {
  const { algorithm } = manifest;
  const [manifestDigest, infoDigest] = [manifestBytes, infoBytes].map((bytes) => hexDigest(algorithm, bytes));
  const statetree = { version: VERSION, algorithm, generation, manifest: manifestDigest, info: infoDigest };
  if (durable) syncFolder(path);
  replaceFile(join(path, ROOT), durable, (sink) => sink.write(jsonBytes({ ...GROUP, attributes: { statetree } })));
}

/** Removes generations that the root does not name and that nobody holds; what cannot be removed disturbs nobody. */
function removeOthers(path, generation) {
  for (const name of namesIn(path)) {
    if (name === generation || !isGeneration(path, name)) continue;
    const lock = lockFolder(join(path, name), true);
    if (lock === null) continue;
    if (decodeRoot(rootText(new FolderStore(path))).generation !== name) removeFolder(join(path, name));
    closeFolder(lock);
  }
}

const jsonBytes = (value) => Buffer.from(JSON.stringify(value));

/** The text of the metadata of an array; JSON numbers of JavaScript cannot say `0.0`. */
function arrayMetadata(dtype, shape, separator) {
  const { group, zarr, carrier, itemsize } = DTYPES.get(dtype);
  const fill = FILL[carrier === null ? group : "integer"];
  const endian = itemsize > 1 ? ',"configuration":{"endian":"little"}' : "";
  const chunks = shape.map((extent) => Math.max(extent, 1));
  const attributes = carrier === null ? "{}" : `{"statetree":{"dtype":"${dtype}"}}`;
  return Buffer.from(
    `{"zarr_format":3,"node_type":"array","shape":[${shape}],"data_type":"${zarr}",` +
      `"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[${chunks}]}},` +
      `"chunk_key_encoding":{"name":"default","configuration":{"separator":"${separator}"}},` +
      `"fill_value":${fill},"codecs":[{"name":"bytes"${endian}}],"attributes":${attributes}}`,
  );
}

class Writer {
  constructor(folder, content, durable) {
    Object.assign(this, { folder, content, durable });
  }

  /** The metadata comes first: by it a folder that an interrupted save leaves is told to be a generation. */
  write() {
    const { content } = this;
    this.file(ROOT, jsonBytes(GROUP));
    const packed = this.packs();
    this.group("arrays", () => {
      content.manifest.entries.forEach((entry, index) => packed.has(index) || this.array(entry, content.arrays[index]));
    });
    this.single("manifest", content.manifestBytes);
    this.single("info", content.infoBytes);
    this.single("blocks", content.blocks);
    if (this.durable) syncFolder(this.folder);
  }

  file(name, bytes) {
    createFile(join(this.folder, name), this.durable, (sink) => sink.write(bytes));
  }

  /** A new folder, durable once `fill` has put its files into it. */
  inFolder(name, fill) {
    createFolder(join(this.folder, name));
    fill();
    if (this.durable) syncFolder(join(this.folder, name));
  }

  group(name, fill) {
    this.inFolder(name, () => {
      this.file(`${name}/${ROOT}`, jsonBytes(GROUP));
      fill();
    });
  }

  array({ name, dtype, shape }, bytes) {
    const folder = `arrays/${name}`;
    this.inFolder(folder, () => {
      this.file(`${folder}/${ROOT}`, arrayMetadata(dtype, shape, "."));
      if (bytes.length > 0) this.file(`${folder}/${chunkKey(0, shape.length, ".")}`, bytes);
    });
  }

  /** A uint8 array in one chunk `c/0`. */
  single(folder, bytes) {
    this.inFolder(folder, () => {
      this.file(`${folder}/${ROOT}`, arrayMetadata("uint8", [bytes.length], "/"));
      if (bytes.length > 0) this.inFolder(`${folder}/c`, () => this.file(`${folder}/c/0`, bytes));
    });
  }

  /** Packs many small arrays; returns the set of those that are packed ([Z-7]). */
  packs() {
    const small = this.content.arrays.flatMap((bytes, index) => (bytes.length > 0 && bytes.length < SMALL ? [index] : []));
    if (small.length <= MANY) return new Set();
    const { packs, index } = arrange(small, this.content.arrays);
    this.group("packs", () => {
      packs.forEach((pack, number) => this.single(`packs/${number}`, Buffer.concat(pack)));
      this.single("packs/index", index);
    });
    return new Set(small);
  }
}

/** Packs of at most 16 MiB, as lists of bytes, and their index. */
function arrange(small, arrays) {
  const index = Buffer.alloc(ROW * arrays.length);
  const packs = [[]];
  let end = 0;
  for (const at of small) {
    const { length } = arrays[at];
    let start = Math.ceil(end / ALIGNED) * ALIGNED;
    if (start + length > PACK) {
      packs.push([]);
      [start, end] = [0, 0];
    }
    packs.at(-1).push(Buffer.alloc(start - end), arrays[at]);
    [packs.length, start, length].forEach((number, field) => index.writeBigUInt64LE(BigInt(number), ROW * at + 8 * field));
    end = start + length;
  }
  return { packs, index };
}
