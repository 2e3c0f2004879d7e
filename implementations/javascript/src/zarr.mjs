/** Zarr hierarchies, in a folder or a zip file, read by their root, texts, packs and arrays (section 7.4). */

import { join } from "node:path";
import { crc32c, unpack } from "./compression.mjs";
import { ALGORITHMS, hexDigest } from "./digest.mjs";
import { refuse, shown } from "./errors.mjs";
import { closeFolder } from "./files.mjs";
import { lockFolder } from "./lock.mjs";
import { judgeAlgorithm, judgeVersion } from "./manifest.mjs";
import { DTYPES } from "./registry.mjs";
import { arrayLayout, MAX_METADATA, parseMetadata, singleLayout } from "./zarr-metadata.mjs";
import { glance } from "./zip.mjs";
import { FolderStore, GENERATION, isGeneration, isTemporary, ZipStore } from "./zarr-store.mjs";

export const ROW = 24;

export const ROOT = "zarr.json";
const MEMBERS = ["algorithm", "generation", "info", "manifest", "version"];
const RECOGNISED = '"statetree"';
const IN_GENERATION = /^[0-9a-f]{16}\//;
const LARGEST_PACK = 2 ** 24;
const CRC = 4;

/** The root's text, if it is recognised: at most 1 MiB with the bytes `"statetree"`; otherwise null ([Z-1]). */
export function rootText(store) {
  const tooLarge = (size) => size > MAX_METADATA && refuse("NOT_STATETREE", "a root zarr.json of at most 1 MiB", `${size}`);
  const bytes = store.read(ROOT, tooLarge);
  return bytes?.includes(RECOGNISED) ? bytes : null;
}

/** What the root says: version, algorithm, generation, and the digests of manifest and info. */
export function decodeRoot(bytes) {
  const root = parseMetadata(bytes, "group", ROOT).get("attributes")?.get("statetree");
  if (!(root instanceof Map)) refuse("Z_METADATA", "an object as attribute statetree", "another", { place: ROOT });
  judgeVersion(root.get("version"), ROOT);
  const strings = [...root.values()].every((value) => typeof value === "string");
  if ([...root.keys()].sort().join() !== MEMBERS.join() || !strings) {
    refuse("Z_METADATA", `exactly the texts ${MEMBERS.join(", ")}`, shown([...root.keys()]), { place: ROOT });
  }
  judgeAlgorithm(root.get("algorithm"), ROOT);
  const digits = 2 * ALGORITHMS.get(root.get("algorithm"));
  const isDigest = (text) => text.length === digits && /^[0-9a-f]*$/.test(text);
  if (!GENERATION.test(root.get("generation")) || !isDigest(root.get("manifest")) || !isDigest(root.get("info"))) {
    refuse("Z_METADATA", "hexadecimal digits in generation, manifest and info", "others", { place: ROOT });
  }
  return Object.fromEntries(root);
}

/** A reader of a folder. It reads the root again once it holds its lock, since another save may have been faster ([Z-3]). */
export function openZarrFolder(path, limits) {
  for (;;) {
    const store = new FolderStore(path);
    const root = findRoot(store);
    const lock = lockFolder(join(path, root.generation), false);
    const now = findRoot(new FolderStore(path));
    if (now.generation === root.generation) return new ZarrReader(store, now, lock, limits);
    closeFolder(lock);
  }
}

/** Whether a file is a zip file of the format: by the name of its first entry or by its root ([Z-8]). */
export function isZarrZip(file) {
  const zip = glance(file);
  return zip !== null && (IN_GENERATION.test(zip.first) || (zip.bytesOf(ROOT, MAX_METADATA)?.includes(RECOGNISED) ?? false));
}

/** A zip file that is recognised and has no root is a save that was not finished. */
export function openZarrZip(file, limits) {
  const store = new ZipStore(file);
  const bytes = store.read(ROOT, metadataTooLarge(ROOT));
  if (bytes === null) refuse("UNCOMMITTED", "a root zarr.json", "none", { place: ROOT });
  return new ZarrReader(store, rootOf(store, bytes), null, limits);
}

function findRoot(store) {
  const bytes = rootText(store);
  if (bytes === null) missingRoot(store);
  return rootOf(store, bytes);
}

function rootOf(store, bytes) {
  const root = decodeRoot(bytes);
  if (!store.hasGeneration(root.generation)) refuse("UNCOMMITTED", `the generation ${root.generation}`, "none", { place: ROOT });
  return root;
}

/** A folder of generations and temporary files only is a save that was not finished ([Z-2]). */
function missingRoot(store) {
  const names = store.top();
  const begun = names.length > 0 && names.every((name) => isTemporary(name) || isGeneration(store.root, name));
  if (begun) refuse("UNCOMMITTED", "a root zarr.json", "none", { place: ROOT });
  refuse("NOT_STATETREE", 'a root zarr.json with "statetree"', "none", { place: ROOT });
}

const metadataTooLarge = (place) => (size) =>
  size > MAX_METADATA && refuse("Z_METADATA", "metadata of at most 1 MiB", `${size}`, { place });

class ZarrReader {
  constructor(store, root, lock, limits) {
    Object.assign(this, { store, root, lock, generation: root.generation });
    this.manifestBytes = this.text("manifest", limits.manifest_bytes, "MANIFEST_DIGEST");
    this.infoBytes = this.text("info", limits.info_bytes, "INFO_DIGEST");
  }

  at(name) {
    return `${this.generation}/${name}`;
  }

  text(name, limit, code) {
    const tooLarge = (size) => size > limit && refuse("LIMIT_MANIFEST", `at most ${limit} bytes`, `${size}`, { place: name });
    const bytes = this.store.read(this.at(`${name}/c/0`), tooLarge);
    if (bytes === null) refuse("ARRAY_MISSING_CHUNK", "a stored text", "none", { place: name });
    if (hexDigest(this.root.algorithm, bytes) !== this.root[name]) refuse(code, "the recorded digest", "another", { place: name });
    return bytes;
  }

  /** The metadata of a node below the generation, or of the generation itself, or null. */
  metadata(name) {
    return this.store.read(this.at(name === "" ? ROOT : `${name}/${ROOT}`), metadataTooLarge(name));
  }

  get storedBytes() {
    return this.store.sizeBelow(this.generation);
  }

  bind({ algorithm, entries }) {
    if (algorithm !== this.root.algorithm) {
      refuse("BACKEND_MISMATCH", algorithm, shown(this.root.algorithm), { place: ROOT });
    }
    this.entries = entries;
    this.packs = new Map();
    this.index = this.packIndex();
    this.layouts = entries.map((entry, index) => (entry.size > 0 ? this.bindArray(entry, index) : null));
  }

  packIndex() {
    const wanted = ROW * this.entries.length;
    const otherSize = (size) => size !== wanted && refuse("Z_METADATA", `${wanted} bytes`, `${size}`, { place: "packs/index" });
    return this.store.read(this.at("packs/index/c/0"), otherSize);
  }

  row(index) {
    const [pack, offset, size] = [0, 8, 16].map((at) => Number(this.index?.readBigUInt64LE(ROW * index + at) ?? 0));
    return { pack, offset, size };
  }

  bindArray(entry, index) {
    const { pack, offset, size } = this.row(index);
    if (pack === 0) return this.ownLayout(entry);
    if (size !== entry.size) refuse("BACKEND_MISMATCH", `${entry.size} bytes`, `${size}`, { place: `packs/index, row ${index}` });
    const stored = this.pack(pack - 1);
    if (offset + size > stored.size) {
      refuse("BACKEND_MISMATCH", `bytes inside of the pack`, `${size} at ${offset}`, { place: `packs/index, row ${index}` });
    }
    return { pack: pack - 1, offset };
  }

  ownLayout(entry) {
    const place = `arrays/${entry.name}`;
    const metadata = this.metadata(place);
    if (metadata === null) refuse("ARRAY_MISSING", "an array of this name", "none", { place });
    return arrayLayout(metadata, entry, place);
  }

  /** The layout of a pack by its number. */
  pack(number) {
    if (!this.packs.has(number)) {
      const place = `packs/${number}`;
      const metadata = this.metadata(place);
      if (metadata === null) refuse("ARRAY_MISSING", "a pack of this number", "none", { place });
      const layout = singleLayout(metadata, place);
      if (layout.size > LARGEST_PACK) refuse("Z_METADATA", `a pack of at most ${LARGEST_PACK} bytes`, `${layout.size}`, { place });
      this.packs.set(number, layout);
    }
    return this.packs.get(number);
  }

  blocks(size) {
    const otherSize = (found) => found !== size && refuse("BLOCK_DIGEST", `${size} bytes`, `${found}`, { place: "blocks" });
    const bytes = this.store.read(this.at("blocks/c/0"), otherSize) ?? Buffer.alloc(0);
    otherSize(bytes.length);
    return bytes;
  }

  ways(index) {
    const layout = this.layouts[index];
    return [layout.pack === undefined ? this.chunks(index, layout) : this.packed(layout, this.entries[index].size)];
  }

  *packed({ pack, offset }, size) {
    if (this.unpacked?.number !== pack) this.unpacked = { number: pack, bytes: this.readPack(pack) };
    yield this.unpacked.bytes.subarray(offset, offset + size);
  }

  readPack(number) {
    const place = `packs/${number}`;
    const { size, compression } = this.pack(number);
    const bytes = this.store.open(this.at(`${place}/c/0`));
    if (bytes === null) refuse("ARRAY_MISSING", "a pack of this number", "none", { place });
    try {
      return Buffer.concat([...this.chunk(bytes, { compression, checked: false }, size, place)]);
    } finally {
      bytes.close();
    }
  }

  /** The size of a chunk as it is stored; 0 if it is not. */
  sizeOf(name) {
    const bytes = this.store.open(this.at(name));
    bytes?.close();
    return bytes?.size ?? 0;
  }

  openChunk(name) {
    const bytes = this.store.open(this.at(name));
    if (bytes === null) refuse("ARRAY_MISSING_CHUNK", "a stored chunk", "none", { place: name });
    return bytes;
  }

  /** The bytes of all chunks, without what the last one has beyond the array. */
  *chunks(index, layout) {
    const { name, size, dtype, shape } = this.entries[index];
    const chunkSize = shape.slice(1).reduce((product, extent) => product * extent, layout.rows * DTYPES.get(dtype).itemsize);
    for (let number = 0; number * chunkSize < size; number++) {
      const place = `arrays/${name}/${chunkKey(number, shape.length, layout.separator)}`;
      const bytes = this.openChunk(place);
      try {
        yield* upTo(size - number * chunkSize, this.chunk(bytes, layout, chunkSize, place));
      } finally {
        bytes.close();
      }
    }
  }

  /** The `size` bytes of one chunk, in pieces. */
  *chunk(bytes, { compression, checked }, size, place) {
    const length = bytes.size - (checked ? CRC : 0);
    if (compression === "" && length !== size) refuse("ARRAY_NBYTES", `${size} bytes`, `${length}`, { place });
    if (checked) judgeChecksum(bytes, length, place);
    if (compression === "") yield* bytes.pieces(0, length);
    else yield unpack(compression, bytes.read(0, length), size, place);
  }

  close() {
    if (this.lock !== null) closeFolder(this.lock);
    this.store.close();
  }
}

export function chunkKey(number, rank, separator) {
  return ["c", ...(rank === 0 ? [] : [number, ...Array(rank - 1).fill(0)])].join(separator);
}

function judgeChecksum(bytes, length, place) {
  const right = length >= 0 && crc32c(bytes.pieces(0, length)) === bytes.read(length, CRC).readUInt32LE(0);
  if (!right) refuse("DIGEST", "the CRC-32C that follows", "another", { place });
}

function* upTo(size, pieces) {
  let left = size;
  for (const piece of pieces) {
    if (left > 0) yield piece.subarray(0, left);
    left -= piece.length;
  }
}
