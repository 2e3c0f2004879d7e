/**
 * HDF5 files read by their index, without an HDF5 library (section 7.3, [H-4]); what can only be read by name is refused with
 * `BACKEND_LIBRARY`.
 */

import { BLOCK_SIZE, decodeBlock, isZero, judgeMajor, MAGIC } from "./block.mjs";
import { digest } from "./digest.mjs";
import { refuse, shown } from "./errors.mjs";

const SIGNATURE = Buffer.from("894844460d0a1a0a", "hex");
const HEADER_AT = 4096;
const HEADER_SIZE = 4096;
const ROW = 16;

/** Superblock version -> where sizes of offsets and lengths, the base address and the end of file are ([H-1]). */
const SUPERBLOCKS = new Map([
  [0, { sizes: 13, base: 24, end: 40 }],
  [1, { sizes: 13, base: 28, end: 44 }],
  [2, { sizes: 9, base: 12, end: 28 }],
  [3, { sizes: 9, base: 12, end: 28 }],
]);

export const isHdf5 = (file) => file.holds(HEADER_AT, MAGIC.length) && file.read(HEADER_AT, MAGIC.length).equals(MAGIC);

export const looksLikeHdf5 = (file) => file.holds(0, 8) && file.read(0, 8).equals(SIGNATURE);

const needsLibrary = (what, place) =>
  refuse("BACKEND_LIBRARY", `${what} at an offset of the index`, "one that only an HDF5 library can find", { place });

export class Hdf5Reader {
  constructor(file, limits) {
    this.file = file;
    this.storedBytes = file.size;
    const start = file.read(0, Math.min(file.size, HEADER_AT + BLOCK_SIZE));
    const block = start.subarray(HEADER_AT);
    if (block.length >= 20) judgeMajor(block, "header");
    judgeSuperblock(start, file.size);
    this.header = decodeBlock(block, ["gzip"], "header");
    const { arrays, rows } = this.header;
    if (rows !== arrays) refuse("HEADER_FORM", `${arrays} rows of the index`, `${rows}`, { place: "header" });
    this.manifestBytes = this.text("manifest", limits.manifest_bytes, "MANIFEST_DIGEST");
    this.infoBytes = this.text("info", limits.info_bytes, "INFO_DIGEST");
  }

  text(name, limit, code) {
    const { size } = this.header[name];
    if (size > limit) refuse("LIMIT_MANIFEST", `at most ${limit} bytes`, `${size}`, { place: name });
    return this.part(name, code);
  }

  /** The bytes of a part, held against the digest of the header block; the offset of an empty one means nothing. */
  part(name, code) {
    const { offset, size, digest: recorded } = this.header[name];
    if (size > 0 && !this.file.holds(offset, size)) refuse(code, "an offset in the file", `${offset}`, { place: name });
    const bytes = size > 0 ? this.file.read(offset, size) : Buffer.alloc(0);
    if (!digest(this.header.algorithm, bytes).equals(recorded)) {
      refuse(code, "the recorded digest", "another", { place: name });
    }
    return bytes;
  }

  bind({ algorithm, entries }) {
    const { header } = this;
    if (header.algorithm !== algorithm || header.arrays !== entries.length) {
      const found = `${header.algorithm}, ${header.arrays}`;
      refuse("BACKEND_MISMATCH", `${algorithm} and ${entries.length} arrays`, found, { place: "header" });
    }
    if (header.index.size !== ROW * entries.length) {
      refuse("ARRAY_MISSING", `an index of ${ROW * entries.length} bytes`, `${header.index.size}`, { place: "index" });
    }
    this.index = this.part("index", "DIGEST");
    this.entries = entries;
    entries.forEach((entry, index) => entry.size > 0 && this.judgeRow(index));
  }

  row(index) {
    return [0, 8].map((at) => Number(this.index.readBigUInt64LE(ROW * index + at)));
  }

  /** A row that does not fit is no error, but nothing that can be read here either. */
  judgeRow(index) {
    const [offset, size] = this.row(index);
    const { name, size: wanted } = this.entries[index];
    if (offset === 0 || size !== wanted || !this.file.holds(offset, size)) needsLibrary("an array", name);
  }

  blocks(size) {
    const found = this.header.blocks.size;
    if (found !== size) refuse("BLOCK_DIGEST", `${size} bytes`, `${found}`, { place: "blocks" });
    return this.part("blocks", "BLOCK_DIGEST");
  }

  pieces(index) {
    return this.file.pieces(...this.row(index));
  }

  /** Of [H-10] what the bytes alone show: no dataset is looked at by its name. */
  validate({ version }) {
    if (this.header.version !== version) {
      refuse("BACKEND_MISMATCH", `version ${version}`, this.header.version, { place: "header" });
    }
    const behind = this.file.holds(HEADER_AT, HEADER_SIZE) ? this.file.read(HEADER_AT + BLOCK_SIZE, HEADER_SIZE - BLOCK_SIZE) : null;
    if (behind === null || !isZero(behind)) {
      refuse("HEADER_FORM", "zeros behind the header block", "other bytes", { place: "header" });
    }
    this.judgePlaces();
  }

  /** Datasets do not overlap: where two runs of the index do, one is not where its dataset begins. */
  judgePlaces() {
    const parts = ["manifest", "info", "index", "blocks"].map((name) => ({ ...this.header[name], name }));
    const arrays = this.entries.map((entry, index) => ({ offset: this.row(index)[0], size: entry.size, name: entry.name }));
    const header = { offset: 0, size: HEADER_AT + HEADER_SIZE, name: "header" };
    const runs = [header, ...parts, ...arrays.filter(({ offset }) => offset !== 0)].filter(({ size }) => size > 0);
    runs.sort((a, b) => a.offset - b.offset);
    runs.slice(1).forEach(({ offset, name }, at) => {
      const before = runs[at];
      if (offset < before.offset + before.size) {
        refuse("BACKEND_MISMATCH", "an offset where a dataset begins", `${offset}, inside of ${shown(before.name)}`, { place: name });
      }
    });
  }

  close() {
    this.file.close();
  }
}

function judgeSuperblock(start, size) {
  const place = "superblock";
  if (!start.subarray(0, 8).equals(SIGNATURE)) refuse("POLYGLOT", "the HDF5 signature", "other bytes", { place });
  const form = SUPERBLOCKS.get(start[8]);
  if (form === undefined) refuse("POLYGLOT", "a superblock of version 0 to 3", `${start[8]}`, { place });
  if (start[form.sizes] !== 8 || start[form.sizes + 1] !== 8) refuse("POLYGLOT", "sizes of 8 bytes", "others", { place });
  if (start.readBigUInt64LE(form.base) !== 0n) refuse("POLYGLOT", "the base address 0", "another", { place });
  if (start[8] === 3 && start[11] & 5) refuse("CONTAINER_LOCKED", "a file that was closed", "one open for writing", { place });
  const end = start.readBigUInt64LE(form.end);
  if (BigInt(size) < end) refuse("CONTAINER_TRUNCATED", `${end} bytes`, `${size}`, { place });
  if (BigInt(size) > end) refuse("POLYGLOT", `${end} bytes`, `${size}`, { place });
}
