/** Structures of an HDF5 file as bytes: read where they are, field by field, and held against their checksums. */

import { refuse } from "../errors.mjs";
import { lookup3 } from "./checksum.mjs";

const CHECKSUM = 4;

/** The address of nothing; a number that no file can hold is as good as this one. */
export const NOWHERE = Infinity;

/** An object that cannot be opened ([H-7]). */
export const broken = (what) => refuse("CONTAINER_TRUNCATED", `${what} that can be read`, "other bytes, or the end of the file", { place: "HDF5" });

/** Fields one after another; numbers are unsigned and little-endian. */
export class Fields {
  constructor(bytes, what) {
    this.bytes = bytes;
    this.what = what;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(size) {
    if (size > this.left) broken(this.what);
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  skip(size) {
    this.take(size);
    return this;
  }

  /** A number of 1 to 8 bytes; beyond 2^53−1 it is `NOWHERE`. */
  number(size) {
    const bytes = this.take(size);
    if (size <= 6) return size === 0 ? 0 : bytes.readUIntLE(0, size);
    const value = BigInt(bytes.readUIntLE(0, 6)) + (BigInt(bytes.readUIntLE(6, size - 6)) << 48n);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : NOWHERE;
  }

  numbers(count, size) {
    return Array.from({ length: count }, () => this.number(size));
  }

  address() {
    return this.number(8);
  }

  /** A text that ends with a zero byte; with `padded`, up to the next multiple of 8 bytes. */
  text(padded) {
    const end = this.bytes.indexOf(0, this.at);
    if (end < 0) broken(this.what);
    const size = end + 1 - this.at;
    return this.take(padded ? multipleOf8(size) : size).toString("latin1", 0, size - 1);
  }

  expect(signature) {
    if (this.take(signature.length).toString("latin1") !== signature) broken(this.what);
    return this;
  }
}

export const multipleOf8 = (size) => Math.ceil(size / 8) * 8;

/** The fields of a structure of a known size. */
export function fieldsAt(file, address, size, what) {
  if (!file.holds(address, size)) broken(what);
  return new Fields(file.read(address, size), what);
}

/** The same of a structure whose last four bytes are its checksum; they are left out. */
export function checkedAt(file, address, size, what) {
  const { bytes } = fieldsAt(file, address, size + CHECKSUM, what);
  if (lookup3(bytes.subarray(0, size)) !== bytes.readUInt32LE(size)) broken(what);
  return new Fields(bytes.subarray(0, size), what);
}

/** The bytes that a number up to `largest` takes. */
export const bytesFor = (largest) => Math.floor(Math.log2(largest) / 8) + 1;
