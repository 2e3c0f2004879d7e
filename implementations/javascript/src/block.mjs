/** The header block of HDF5 and BSON files (section 7.2.1, [C-5]). */

import { ALGORITHMS, digest } from "./digest.mjs";
import { refuse, shown } from "./errors.mjs";
import { judgeAlgorithm } from "./manifest.mjs";

export const BLOCK_SIZE = 512;

export const MAGIC = Buffer.from("897374617465747265650d0a1a0a0000", "hex");

const DIGEST_AT = 480;
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
  const algorithm = padded(block, 24);
  judgeAlgorithm(algorithm.text, place);
  const size = ALGORITHMS.get(algorithm.text);
  const own = digest(algorithm.text, block.subarray(0, DIGEST_AT));
  if (!own.equals(block.subarray(DIGEST_AT, DIGEST_AT + size))) {
    refuse("DIGEST", "the digest of the header block", "another", { place });
  }
  const compression = padded(block, 40);
  judgeForm(block, size, [algorithm, compression], place);
  if (!["", ...compressions].includes(compression.text)) {
    refuse("HEADER_FORM", `a compression of ${compressions.join(", ")}`, shown(compression.text), { place });
  }
  const parts = Object.fromEntries(PARTS.map(([name, at]) => [name, part(block, at, size)]));
  const version = `1.${block.readUInt16LE(18)}`;
  return { version, algorithm: algorithm.text, compression: compression.text, arrays: number(block, 56), rows: number(block, 64), ...parts };
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

/** A text of 16 bytes up to its first zero byte; `zeros` if nothing but these follows. */
function padded(block, at) {
  const field = block.subarray(at, at + 16);
  const end = field.indexOf(0) < 0 ? 16 : field.indexOf(0);
  return { text: field.toString("latin1", 0, end), zeros: isZero(field.subarray(end)) };
}

export const isZero = (bytes) => bytes.every((byte) => byte === 0);

function judgeForm(block, size, texts, place) {
  const ends = [...PARTS.map(([, at]) => at + 16), DIGEST_AT].map((at) => block.subarray(at + size, at + 32));
  const runs = [block.subarray(20, 24), block.subarray(ZERO_FROM, DIGEST_AT), ...ends];
  if (!runs.every(isZero) || !texts.every(({ zeros }) => zeros)) {
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
