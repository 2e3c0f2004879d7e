/** One frame of gzip, zlib or zstd, unpacked to exactly the expected size or refused (section 7.2.2, [C-6]); checksums of 32 bits. */

import { inflateRawSync, inflateSync } from "node:zlib";
import { createCRC32 } from "hash-wasm";
import { decompress, init } from "@bokuweb/zstd-wasm";
import { refuse } from "./errors.mjs";

const LARGEST_FRAME = 2 ** 30;
const ZSTD_MAGIC = 0xfd2fb528;
const CRC32C_POLYNOMIAL = 0x82f63b78;

const crc32Hasher = await createCRC32();
const crc32cHasher = await createCRC32(CRC32C_POLYNOMIAL);
await init();

const checksum = (hasher) => (pieces) => {
  hasher.init();
  for (const piece of pieces) hasher.update(piece);
  return parseInt(hasher.digest("hex"), 16);
};

/** The CRC-32 of bytes that come in pieces. */
export const crc32 = checksum(crc32Hasher);
export const crc32c = checksum(crc32cHasher);

/** The `size` bytes that a frame holds; any other frame is `DIGEST`. */
export function unpack(compression, frame, size, place) {
  // Library limit: both frame and bytes lie in a memory of 4 GiB.
  if (size > LARGEST_FRAME) refuse("LIMIT_BYTES", `frames of at most ${LARGEST_FRAME} bytes`, `${size}`, { place });
  const bytes = UNPACKERS[compression](frame, size);
  if (bytes === null) refuse("DIGEST", `one ${compression} frame of ${size} bytes`, "other bytes", { place });
  return bytes;
}

const UNPACKERS = { gzip: gunzip, zlib: unzlib, zstd: unzstd };

/** A zlib stream, whose own checksum the library holds (RFC 1950). */
function unzlib(frame, size) {
  const inflated = inflate(inflateSync, frame, size);
  return inflated?.buffer.length === size && inflated.engine.bytesWritten === frame.length ? inflated.buffer : null;
}

function gunzip(frame, size) {
  const start = gzipHeaderLength(frame);
  if (start === null) return null;
  const inflated = inflate(inflateRawSync, frame.subarray(start), size);
  if (inflated === null || inflated.buffer.length !== size) return null;
  const end = start + inflated.engine.bytesWritten;
  if (frame.length !== end + 8) return null;
  const right = frame.readUInt32LE(end) === crc32([inflated.buffer]) && frame.readUInt32LE(end + 4) === size % 2 ** 32;
  return right ? inflated.buffer : null;
}

function inflate(library, stream, size) {
  try {
    return library(stream, { info: true, maxOutputLength: size + 1 });
  } catch {
    return null;
  }
}

/** The length of the header of a gzip member, or null if there is none (RFC 1952, section 2.3). */
function gzipHeaderLength(frame) {
  if (frame.length < 18 || frame[0] !== 0x1f || frame[1] !== 0x8b || frame[2] !== 8 || frame[3] & 0xe0) return null;
  const [hasCrc, hasExtra, hasName, hasComment] = [2, 4, 8, 16].map((bit) => (frame[3] & bit) !== 0);
  let at = 10;
  if (hasExtra) at += 2 + frame.readUInt16LE(at);
  for (const there of [hasName, hasComment]) {
    if (!there) continue;
    const zero = frame.indexOf(0, at);
    if (zero < 0) return null;
    at = zero + 1;
  }
  if (!hasCrc) return at;
  const right = at + 2 <= frame.length && frame.readUInt16LE(at) === (crc32([frame.subarray(0, at)]) & 0xffff);
  return right ? at + 2 : null;
}

function unzstd(frame, size) {
  const found = zstdFrame(frame);
  if (found === null || found.end !== frame.length || (found.size !== null && found.size !== BigInt(size))) return null;
  try {
    const bytes = decompress(frame, { defaultHeapSize: Math.max(size, 1) });
    return bytes.length === size ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : null;
  } catch {
    return null;
  }
}

/** Where the first frame ends and which content size it states, or null if no frame without a dictionary begins (RFC 8878). */
function zstdFrame(frame) {
  if (frame.length < 6 || frame.readUInt32LE(0) !== ZSTD_MAGIC || frame[4] & 0x0b) return null;
  const single = (frame[4] & 0x20) !== 0;
  const sizeField = [single ? 1 : 0, 2, 4, 8][frame[4] >> 6];
  const at = single ? 5 : 6;
  if (frame.length < at + sizeField) return null;
  const end = zstdEnd(frame, at + sizeField);
  return end === null ? null : { end: end + (frame[4] & 4), size: contentSize(frame, at, sizeField) };
}

function contentSize(frame, at, sizeField) {
  switch (sizeField) {
    case 0:
      return null;
    case 2:
      return BigInt(frame.readUInt16LE(at) + 256);
    case 8:
      return frame.readBigUInt64LE(at);
    default:
      return BigInt(frame.readUIntLE(at, sizeField));
  }
}

/** The end of the last block; a block of kind 1 stores one byte, and kind 3 is none. */
function zstdEnd(frame, start) {
  for (let at = start; at + 3 <= frame.length; ) {
    const header = frame.readUIntLE(at, 3);
    const kind = (header >> 1) & 3;
    if (kind === 3) return null;
    at += 3 + (kind === 1 ? 1 : header >> 3);
    if (header & 1) return at;
  }
  return null;
}
