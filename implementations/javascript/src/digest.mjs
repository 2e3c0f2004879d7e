/** Digests of texts and, block by block, of arrays (section 6). */

import { createHash } from "node:crypto";
import { createBLAKE3, createXXHash128 } from "hash-wasm";

/** Bytes of a block ([G-2]). */
export const BLOCK = 4_194_304;

/** Name of an algorithm -> bytes of its digests. */
export const ALGORITHMS = new Map([["xxh3-128", 16], ["sha-256", 32], ["blake3", 32]]);

// One hasher is for whole texts, the other for an array that comes in pieces, between which texts may be digested.
const hashers = async () => new Map([["xxh3-128", await createXXHash128(0, 0)], ["blake3", await createBLAKE3()]]);
const forTexts = await hashers();
const forPieces = await hashers();

const start = (pool, algorithm) => pool.get(algorithm)?.init() ?? createHash("sha256");
const raw = (hasher) => Buffer.from(hasher.digest("hex"), "hex");

/** The raw digest of some bytes. */
export function digest(algorithm, bytes) {
  const hasher = start(forTexts, algorithm);
  hasher.update(bytes);
  return raw(hasher);
}

export const hexDigest = (algorithm, bytes) => digest(algorithm, bytes).toString("hex");

export const treeDigest = (algorithm, manifest) => `${algorithm}:${hexDigest(algorithm, manifest)}`;

export const blockCount = (size) => (size > BLOCK ? Math.ceil(size / BLOCK) : 0);

/** The digest of one array that comes in pieces of any size. Only one may be under way at a time. */
export class ArrayDigest {
  constructor(algorithm) {
    this.algorithm = algorithm;
    this.blocks = [];
    this.begin();
  }

  begin() {
    this.hasher = start(forPieces, this.algorithm);
    this.filled = 0;
  }

  update(bytes) {
    for (let at = 0; at < bytes.length; ) {
      if (this.filled === BLOCK) this.endBlock();
      const part = bytes.subarray(at, at + BLOCK - this.filled);
      this.hasher.update(part);
      this.filled += part.length;
      at += part.length;
    }
  }

  endBlock() {
    this.blocks.push(raw(this.hasher));
    this.begin();
  }

  /** The digest in hexadecimal, and the joined block digests of an array of more than one block. */
  finish() {
    if (this.blocks.length === 0) return { hex: raw(this.hasher).toString("hex"), blocks: Buffer.alloc(0) };
    this.endBlock();
    const blocks = Buffer.concat(this.blocks);
    return { hex: hexDigest(this.algorithm, blocks), blocks };
  }
}
