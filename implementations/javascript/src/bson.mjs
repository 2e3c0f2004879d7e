/** BSON files, read by their trailer and index (section 7.5). */

import { BLOCK_SIZE, decodeBlock } from "./block.mjs";
import { unpack } from "./compression.mjs";
import { digest } from "./digest.mjs";
import { MAX_DOCUMENT, parseDocument, valuesOf } from "./documents.mjs";
import { refuse, shown } from "./errors.mjs";
import { judgeVersion } from "./manifest.mjs";

/** Canonical bytes, and bytes of a text, in one document ([B-3], [B-4]). */
export const PIECE = 8_388_608;

export const TEXTS = ["blocks", "index", "info", "manifest"];
export const TRAILER = 546;
export const ROW = 24;
const TEXT_FORM = { kind: "string", n: "int32", pad: "binary", data: "binary" };

const RECOGNISED = Buffer.from("\x02statetree\0", "latin1");
const RECOGNISED_AT = 4;
const VERSION_AT = 15;
const MAX_HEADER = 4096;
const MAX_VERSION = 32;
const LARGEST_STORED = 16_777_215;
const HEADER_FORM = { statetree: "string", algorithm: "string", arrays: "int64" };
const TRAILER_FORM = { kind: "string", data: "binary" };

export const isBson = (file) =>
  file.holds(RECOGNISED_AT, RECOGNISED.length) && file.read(RECOGNISED_AT, RECOGNISED.length).equals(RECOGNISED);

export const textPieces = (size) => Math.max(1, Math.ceil(size / PIECE));

const chunks = (expected, found, place) => refuse("BSON_CHUNKS", expected, found, { place });

export class BsonReader {
  constructor(file, limits) {
    this.file = file;
    this.storedBytes = file.size;
    judgeVersion(versionText(file), "header");
    this.start = headerLength(file);
    this.end = file.size - TRAILER;
    this.header = decodeBlock(this.trailer(), ["gzip", "zstd"], "trailer");
    this.headerVersion = this.judgeHeader();
    this.manifestBytes = this.text("manifest", limits.manifest_bytes, "MANIFEST_DIGEST");
    this.infoBytes = this.text("info", limits.info_bytes, "INFO_DIGEST");
  }

  trailer() {
    const bytes = this.end >= this.start ? this.file.read(this.end, TRAILER) : Buffer.alloc(0);
    if (bytes.length < TRAILER || bytes.readInt32LE(0) !== TRAILER) {
      refuse("CONTAINER_TRUNCATED", "a trailer at the end of the file", "none", { place: "trailer" });
    }
    const { kind, data } = valuesOf(parseDocument(bytes, "trailer"), TRAILER_FORM, "trailer");
    if (kind !== "trailer") chunks("the kind trailer", shown(kind), "trailer");
    if (data.length !== BLOCK_SIZE) chunks(`${BLOCK_SIZE} bytes of data`, `${data.length}`, "trailer");
    return data;
  }

  judgeHeader() {
    const elements = parseDocument(this.file.read(0, this.start), "header");
    const { statetree, algorithm, arrays } = valuesOf(elements, HEADER_FORM, "header");
    if (algorithm !== this.header.algorithm) chunks(this.header.algorithm, shown(algorithm), "header");
    if (arrays !== BigInt(this.header.arrays)) chunks(`${this.header.arrays} arrays`, `${arrays}`, "header");
    return statetree;
  }

  text(name, limit, code) {
    const { size } = this.header[name];
    if (size > limit) refuse("LIMIT_MANIFEST", `at most ${limit} bytes`, `${size}`, { place: name });
    return this.part(name, code);
  }

  /** The joined payloads of the documents of a text, held against the digest of the header block. */
  part(name, code) {
    const { offset, size, digest: recorded } = this.header[name];
    if (size > this.file.size) chunks("a text that fits into the file", `${size} bytes`, name);
    const pieces = [];
    let at = offset;
    for (let n = 0; n < textPieces(size); n++) {
      const bytes = this.textDocument(at, name);
      pieces.push(judgeText(bytes, name, n, Math.min(PIECE, size - n * PIECE)).data);
      at += bytes.length;
    }
    const joined = Buffer.concat(pieces);
    if (!digest(this.header.algorithm, joined).equals(recorded)) refuse(code, "the recorded digest", "another", { place: name });
    return joined;
  }

  textDocument(at, name) {
    if (!(at >= this.start && at + 4 <= this.end)) chunks("a document between header and trailer", `offset ${at}`, name);
    const length = this.file.read(at, 4).readInt32LE(0);
    if (length < 5) refuse("BSON_FRAMING", "a document of 5 bytes or more", `${length}`, { place: name });
    if (length >= MAX_DOCUMENT || at + length > this.end) chunks("a document before the trailer", `${length} bytes`, name);
    return this.file.read(at, length);
  }

  bind({ algorithm, entries }) {
    const { header } = this;
    if (header.algorithm !== algorithm || header.arrays !== entries.length) {
      const found = `${header.algorithm}, ${header.arrays}`;
      refuse("BACKEND_MISMATCH", `${algorithm} and ${entries.length} arrays`, found, { place: "trailer" });
    }
    if (header.index.size !== ROW * header.rows) chunks(`an index of ${header.rows} rows`, `${header.index.size} bytes`, "index");
    this.index = this.part("index", "DIGEST");
    this.entries = entries;
    this.firstRow = this.judgeRows();
  }

  row(at) {
    const [array, n] = [0, 4].map((byte) => this.index.readUInt32LE(ROW * at + byte));
    const [offset, size] = [8, 16].map((byte) => Number(this.index.readBigUInt64LE(ROW * at + byte)));
    return { array, n, offset, size };
  }

  /** Holds all rows against [B-5]; returns the number of the first row of each array. */
  judgeRows() {
    const first = new Map();
    const counts = new Map();
    const limit = Math.min(this.end, ...TEXTS.map((name) => this.header[name].offset));
    let before = { array: -1, n: 0 };
    let earliest = this.start;
    for (let at = 0; at < this.header.rows; at++) {
      const row = this.row(at);
      this.judgeRow(row, before, earliest, limit);
      if (row.n === 0) first.set(row.array, at);
      counts.set(row.array, row.n + 1);
      before = row;
      earliest = row.offset + row.size + 1;
    }
    this.entries.forEach(({ size, name }, array) => {
      const [wanted, found] = [Math.ceil(size / PIECE), counts.get(array) ?? 0];
      if (found < wanted) refuse("ARRAY_MISSING", `${wanted} pieces`, `${found}`, { place: name });
    });
    return first;
  }

  judgeRow(row, before, earliest, limit) {
    const { array, n, offset, size } = row;
    const next = array === before.array ? n === before.n + 1 : array > before.array && n === 0;
    if (!next) chunks("rows in the order of arrays and pieces", `array ${array}, piece ${n}`, "index");
    const entry = this.entries[array];
    if (entry === undefined || entry.size === 0) chunks("an array of the table that has bytes", `array ${array}`, "index");
    if (offset % 64 !== 0 || offset < earliest || offset + size + 1 > limit) {
      chunks("a payload in its place, at a multiple of 64", `${size} bytes at ${offset}`, "index");
    }
    this.judgeSize(row, entry);
  }

  judgeSize({ n, size }, entry) {
    const plain = this.header.compression === "";
    const piece = Math.min(PIECE, entry.size - n * PIECE);
    if (piece <= 0) chunks(`${Math.ceil(entry.size / PIECE)} pieces of ${entry.name}`, "more", "index");
    if (size < 1 || (plain ? size !== piece : size > LARGEST_STORED)) {
      chunks(`the size of a piece of ${piece} bytes`, `${size}`, "index");
    }
  }

  blocks(size) {
    const found = this.header.blocks.size;
    if (found !== size) refuse("BLOCK_DIGEST", `${size} bytes`, `${found}`, { place: "blocks" });
    return this.part("blocks", "DIGEST");
  }

  ways(index) {
    return [this.pieces(index)];
  }

  *pieces(index) {
    const { size, name } = this.entries[index];
    for (let n = 0; n * PIECE < size; n++) {
      const row = this.row(this.firstRow.get(index) + n);
      const stored = this.file.read(row.offset, row.size);
      const piece = Math.min(PIECE, size - n * PIECE);
      yield this.header.compression === "" ? stored : unpack(this.header.compression, stored, piece, name);
    }
  }

  close() {
    this.file.close();
  }
}

/** The values of a text document. */
export function judgeText(bytes, name, number, size) {
  const values = valuesOf(parseDocument(bytes, name), TEXT_FORM, name);
  const { kind, n, data } = values;
  if (kind !== name) chunks(`the kind ${name}`, shown(kind), name);
  if (n !== number) chunks(`piece ${number}`, `${n}`, name);
  if (data.length !== size) chunks(`${size} bytes of data`, `${data.length}`, name);
  return values;
}

/** The text of the version at its fixed place, before anything is parsed, or null ([B-2]). */
function versionText(file) {
  if (!file.holds(VERSION_AT, 4)) return null;
  const length = file.read(VERSION_AT, 4).readInt32LE(0);
  if (length < 2 || length > MAX_VERSION || !file.holds(VERSION_AT + 4, length)) return null;
  const text = file.read(VERSION_AT + 4, length);
  return text.indexOf(0) === length - 1 ? text.toString("latin1", 0, length - 1) : null;
}

function headerLength(file) {
  const length = file.read(0, 4).readInt32LE(0);
  if (length < 5 || length > MAX_HEADER || length > file.size) {
    refuse("BSON_FRAMING", "a header document inside of the file", `${length} bytes`, { place: "header" });
  }
  return length;
}
