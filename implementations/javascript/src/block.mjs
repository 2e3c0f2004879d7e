/** The header block of HDF5 and BSON files (section 7.2.1, [C-5]). */

import { ALGORITHMS, digest } from "./digest.mjs";
import { refuse, shown } from "./errors.mjs";
import { judgeAlgorithm } from "./manifest.mjs";

export const BLOCK_SIZE = 512;

export const MAGIC = Buffer.from("897374617465747265650d0a1a0a0000", "hex");

const DIGEST_AT = 480;
const LONGEST_DIGEST = 32;
const ZERO_FROM = 264;
const PARTS = [["manifest", 72], ["info", 120], ["index", 168], ["blocks", 216]];

/** Refuses another magic and another MAJOR, which come before all else. */
export function judgeMajor(block, place) {
  if (!block.subarray(0, 16).equals(MAGIC)) refuse("BAD_MAGIC", "the magic of a header block", "other bytes", { place });
  const major = block.readUInt16LE(16);
  if (major !== 1) refuse("VERSION_MAJOR", "version 1", `${major}`, { place });
}

/**
 * What a header block says. `compressions` are those that the container may have. A number beyond 2^53−1 becomes infinite, which
 * no comparison with the size of a file lets pass.
 */
export function decodeBlock(block, compressions, place) {
  judgeMajor(block, place);
  const algorithm = textAt(block, 24);
  judgeAlgorithm(algorithm, place);
  const size = ALGORITHMS.get(algorithm);
  const own = Buffer.alloc(LONGEST_DIGEST);
  digest(algorithm, block.subarray(0, DIGEST_AT)).copy(own);
  if (!own.equals(block.subarray(DIGEST_AT))) {
    refuse("DIGEST", "the digest of the header block", "another", { place });
  }
  const compression = textAt(block, 40);
  if (!["", ...compressions].includes(compression)) {
    refuse("HEADER_FORM", `a compression of ${compressions.join(", ")}`, shown(compression), { place });
  }
  judgeZeros(block, size, place);
  const parts = Object.fromEntries(PARTS.map(([name, at]) => [name, part(block, at, size)]));
  const version = `1.${block.readUInt16LE(18)}`;
  return { version, algorithm, compression, arrays: number(block, 56), rows: number(block, 64), ...parts };
}

const number = (block, at) => {
  const value = block.readBigUInt64LE(at);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Infinity;
};

const part = (block, at, size) => ({
  offset: number(block, at),
  size: number(block, at + 8),
  digest: block.subarray(at + 16, at + 16 + size),
});

/** A text of 16 bytes without the zeros that pad it. */
const textAt = (block, at) => block.toString("latin1", at, at + 16).replace(/\0+$/, "");

export const isZero = (bytes) => bytes.every((byte) => byte === 0);

function judgeZeros(block, size, place) {
  const ends = PARTS.map(([, at]) => block.subarray(at + 16 + size, at + 16 + LONGEST_DIGEST));
  if (![block.subarray(20, 24), block.subarray(ZERO_FROM, DIGEST_AT), ...ends].every(isZero)) {
    refuse("HEADER_FORM", "zeros where nothing is said", "other bytes", { place });
  }
}

/** The block of a file without compression; `parts` has offset, size and digest of each part. */
export function encodeBlock({ algorithm, arrays, rows, parts }) {
  const block = Buffer.alloc(BLOCK_SIZE);
  MAGIC.copy(block);
  block.writeUInt16LE(1, 16);
  block.write(algorithm, 24, "latin1");
  block.writeBigUInt64LE(BigInt(arrays), 56);
  block.writeBigUInt64LE(BigInt(rows), 64);
  for (const [name, at] of PARTS) {
    block.writeBigUInt64LE(BigInt(parts[name].offset), at);
    block.writeBigUInt64LE(BigInt(parts[name].size), at + 8);
    parts[name].digest.copy(block, at + 16);
  }
  digest(algorithm, block.subarray(0, DIGEST_AT)).copy(block, DIGEST_AT);
  return block;
}
