/** HDF5 files, read by their index where that holds and by names where it does not, without an HDF5 library (section 7.3). */

import { BLOCK_SIZE, decodeBlock, judgeMajor, MAGIC } from "./block.mjs";
import { digest } from "./digest.mjs";
import { refuse, Refusal } from "./errors.mjs";
import { Names } from "./hdf5/names.mjs";
import { piecesOf } from "./hdf5/data.mjs";
import { judgeSuperblock, SIGNATURE } from "./hdf5/superblock.mjs";

export const HEADER_AT = 4096;
export const HEADER_SIZE = 4096;
const ROW = 16;

const beginsAt = (file, offset, bytes) => file.holds(offset, bytes.length) && file.read(offset, bytes.length).equals(bytes);

/** Whether the header block is where a writer puts it. */
const isPlaced = (file) => beginsAt(file, HEADER_AT, MAGIC);

/** Whether a file is recognised: by the magic at its place, or in a dataset `/header` ([H-1]). */
export const isHdf5 = (file) => isPlaced(file) || (beginsAt(file, 0, SIGNATURE) && hasMovedHeader(file));

function hasMovedHeader(file) {
  try {
    const names = new Names(file);
    const dataset = names.text("header");
    const [size] = dataset.shape;
    const start = size === 0 ? [] : piecesOf(file, dataset, size, "header");
    return Buffer.concat([...start].slice(0, 1)).subarray(0, MAGIC.length).equals(MAGIC);
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

export class Hdf5Reader {
  constructor(file, limits) {
    this.file = file;
    this.storedBytes = file.size;
    this.isPlaced = isPlaced(file);
    const block = this.isPlaced ? this.placedBlock() : this.movedBlock();
    this.header = decodeBlock(block, ["gzip"], "header");
    const { arrays, rows } = this.header;
    if (rows !== arrays) refuse("HEADER_FORM", `${arrays} rows of the index`, `${rows}`, { place: "header" });
    this.manifestBytes = this.text("manifest", limits.manifest_bytes, "MANIFEST_DIGEST");
    this.infoBytes = this.text("info", limits.info_bytes, "INFO_DIGEST");
  }

  placedBlock() {
    const block = this.file.read(HEADER_AT, Math.min(BLOCK_SIZE, this.file.size - HEADER_AT));
    if (block.length >= 20) judgeMajor(block, "header");
    judgeSuperblock(this.file);
    return block;
  }

  movedBlock() {
    judgeSuperblock(this.file);
    const bytes = this.names.bytesOf("header", HEADER_SIZE);
    if (bytes.length < BLOCK_SIZE) refuse("H5_MANIFEST_FORM", `at least ${BLOCK_SIZE} bytes`, `${bytes.length}`, { place: "header" });
    return bytes.subarray(0, BLOCK_SIZE);
  }

  /** The objects by their names, opened when they are first needed. */
  get names() {
    this.opened ??= new Names(this.file);
    return this.opened;
  }

  text(name, limit, code) {
    const { size } = this.header[name];
    if (size > limit) refuse("LIMIT_MANIFEST", `at most ${limit} bytes`, `${size}`, { place: name });
    return this.part(name, code);
  }

  /** The bytes of a part with the digest of the header block: those at its offset or, failing that, those of its name ([H-6]). */
  part(name, code) {
    const { offset, size, digest: recorded } = this.header[name];
    const isRight = (bytes) => digest(this.header.algorithm, bytes).equals(recorded);
    const placed = this.isPlaced && size > 0 && this.file.holds(offset, size) ? this.file.read(offset, size) : Buffer.alloc(0);
    if (placed.length === size && isRight(placed)) return placed;
    const bytes = this.names.bytesOf(name, size);
    if (!isRight(bytes)) refuse(code, "the recorded digest", "another", { place: name });
    return bytes;
  }

  bind({ algorithm, entries }) {
    const { header } = this;
    if (header.algorithm !== algorithm || header.arrays !== entries.length) {
      const found = `${header.algorithm}, ${header.arrays}`;
      refuse("BACKEND_MISMATCH", `${algorithm} and ${entries.length} arrays`, found, { place: "header" });
    }
    this.entries = entries;
    this.index = this.isPlaced ? this.readIndex() : null;
    entries.forEach((entry, index) => entry.size > 0 && !this.isInPlace(index) && this.names.array(entry));
  }

  readIndex() {
    const [wanted, found] = [ROW * this.entries.length, this.header.index.size];
    if (found !== wanted) refuse("ARRAY_MISSING", `an index of ${wanted} bytes`, `${found}`, { place: "index" });
    return this.part("index", "DIGEST");
  }

  /** Offset and size of an array, or zeros where there is no index to say so. */
  row(index) {
    return [0, 8].map((at) => (this.index === null ? 0 : Number(this.index.readBigUInt64LE(ROW * index + at))));
  }

  /** Whether the index names bytes that an array may be; whether they are is for their digest to say. */
  isInPlace(index) {
    const [offset, size] = this.row(index);
    return offset !== 0 && size === this.entries[index].size && this.file.holds(offset, size);
  }

  blocks(size) {
    const found = this.header.blocks.size;
    if (found !== size) refuse("BLOCK_DIGEST", `${size} bytes`, `${found}`, { place: "blocks" });
    return this.part("blocks", "BLOCK_DIGEST");
  }

  *ways(index) {
    if (this.isInPlace(index)) yield this.file.pieces(...this.row(index));
    yield this.names.pieces(this.entries[index]);
  }

  close() {
    this.file.close();
  }
}
