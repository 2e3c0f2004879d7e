/** BSON files as a writer makes them, without compression ([B-1] to [B-6]). */

import { encodeBlock } from "./block.mjs";
import { PIECE, ROW, TEXTS, textPieces } from "./bson.mjs";
import { digest } from "./digest.mjs";
import { document, encoded } from "./documents.mjs";
import { refuse } from "./errors.mjs";
import { replaceFile, typeOf } from "./files.mjs";
import { VERSION } from "./manifest.mjs";

const ALIGNED = 64;

export function saveBson(path, content, { durable }) {
  if (typeOf(path) === "dir") refuse("USAGE", "a path where a file is or may be", "a folder", { place: path });
  replaceFile(path, durable, (sink) => new Writer(sink, content).write());
}

class Writer {
  constructor(sink, content) {
    this.sink = sink;
    this.content = content;
    this.rows = [];
  }

  write() {
    const { manifest, manifestBytes, infoBytes, blocks } = this.content;
    const { algorithm, entries } = manifest;
    const { string, int64 } = encoded;
    this.sink.write(document([string("statetree", VERSION), string("algorithm", algorithm), int64("arrays", entries.length)]));
    entries.forEach((entry, index) => this.array(index, entry));
    const texts = { blocks, index: this.index(), info: infoBytes, manifest: manifestBytes };
    const parts = Object.fromEntries(TEXTS.map((name) => [name, this.text(name, texts[name])]));
    const block = encodeBlock({ algorithm, arrays: entries.length, rows: this.rows.length, parts });
    this.sink.write(document([string("kind", "trailer"), encoded.binary("data", block)]));
  }

  array(array, { name, dtype, shape, size }) {
    const bytes = this.content.arrays[array];
    for (let n = 0; n * PIECE < size; n++) {
      const piece = bytes.subarray(n * PIECE, (n + 1) * PIECE);
      const { string, int32, int64s } = encoded;
      const head = [int32("array", array), int32("n", n), string("name", name), string("dtype", dtype), int64s("shape", shape)];
      this.rows.push({ array, n, offset: this.padded(head, piece), size: piece.length });
    }
  }

  text(name, bytes) {
    const offset = this.sink.position;
    for (let n = 0; n < textPieces(bytes.length); n++) {
      this.padded([encoded.string("kind", name), encoded.int32("n", n)], bytes.subarray(n * PIECE, (n + 1) * PIECE));
    }
    return { offset, size: bytes.length, digest: digest(this.content.manifest.algorithm, bytes) };
  }

  /** Writes a document whose payload begins at a multiple of 64; returns where. */
  padded(head, payload) {
    const empty = document([...head, encoded.binary("pad", Buffer.alloc(0)), encoded.binary("data", Buffer.alloc(0))]);
    const unpadded = this.sink.position + empty.length - 1;
    const pad = Buffer.alloc((ALIGNED - (unpadded % ALIGNED)) % ALIGNED);
    this.sink.write(document([...head, encoded.binary("pad", pad), encoded.binary("data", payload)]));
    return unpadded + pad.length;
  }

  index() {
    const index = Buffer.alloc(ROW * this.rows.length);
    this.rows.forEach(({ array, n, offset, size }, at) => {
      index.writeUInt32LE(array, ROW * at);
      index.writeUInt32LE(n, ROW * at + 4);
      index.writeBigUInt64LE(BigInt(offset), ROW * at + 8);
      index.writeBigUInt64LE(BigInt(size), ROW * at + 16);
    });
    return index;
  }
}
