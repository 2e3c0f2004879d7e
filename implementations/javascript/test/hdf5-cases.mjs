/** HDF5 files that a reader by index refuses: name -> {make, load, validate}, with the codes (null: accepted). */

import { contentOf, exampleTree, hdf5, sealed } from "./making.mjs";

const AT = 4096;

const edited = (change) => (name) => hdf5(name, contentOf(exampleTree()), change);

/** A change of the header block, which gets its digest again. */
const block = (change) => edited((bytes, parts) => {
  const header = bytes.subarray(AT, AT + 512);
  change(header, parts);
  sealed(header);
});

const both = (make, code) => ({ make, load: code, validate: code });
const only = (make, code) => ({ make, load: null, validate: code });

const superblock = (version) => edited((bytes) => {
  const end = bytes.length;
  bytes.fill(0, 8, 64);
  bytes[8] = version;
  const [sizes, eof] = version < 2 ? [13, version === 1 ? 44 : 40] : [9, 28];
  bytes[sizes] = bytes[sizes + 1] = 8;
  bytes.writeBigUInt64LE(BigInt(end), eof);
});

export const HDF5 = {
  "superblock-0": both(superblock(0), null),
  "superblock-1": both(superblock(1), null),
  "superblock-2": both(superblock(2), null),
  "superblock-3": both(superblock(3), null),
  "superblock-4": both(superblock(4), "POLYGLOT"),
  "open-for-writing": both(edited((bytes) => {
    bytes.fill(0, 8, 64);
    Buffer.of(3, 8, 8, 1).copy(bytes, 8);
    bytes.writeBigUInt64LE(BigInt(bytes.length), 28);
  }), "CONTAINER_LOCKED"),
  "sizes-of-4": both(edited((bytes) => (bytes[13] = 4)), "POLYGLOT"),
  "another-base-address": both(edited((bytes) => (bytes[25] = 2)), "POLYGLOT"),
  "another-signature": both(edited((bytes) => (bytes[0] = 0x50)), "POLYGLOT"),
  "bytes-behind-it": both(edited((bytes) => Buffer.concat([bytes, Buffer.of(0)])), "POLYGLOT"),
  "cut": both(edited((bytes) => bytes.subarray(0, -1)), "CONTAINER_TRUNCATED"),
  "cut-in-the-header": both(edited((bytes) => bytes.subarray(0, AT + 100)), "CONTAINER_TRUNCATED"),
  "cut-before-the-header": both(edited((bytes) => bytes.subarray(0, AT)), "NOT_STATETREE"),
  "another-magic": both(edited((bytes) => (bytes[AT] = 0)), "NOT_STATETREE"),
  "major-2": both(block((bytes) => (bytes[16] = 2)), "VERSION_MAJOR"),
  "unknown-algorithm": both(block((bytes) => (bytes[24] = 0x79)), "DIGEST_ALGORITHM"),
  "header-without-its-digest": both(edited((bytes) => (bytes[AT + 60] ^= 1)), "DIGEST"),
  "zstd": both(block((bytes) => bytes.write("zstd", 40)), "HEADER_FORM"),
  "rows-other-than-arrays": both(block((bytes) => (bytes[64] = 1)), "HEADER_FORM"),
  "bytes-where-zero": both(block((bytes) => (bytes[300] = 1)), "HEADER_FORM"),
  "another-number-of-arrays": both(block((bytes) => (bytes[56] = bytes[64] = 3)), "BACKEND_MISMATCH"),
  "another-minor": only(block((bytes) => (bytes[18] = 1)), "BACKEND_MISMATCH"),
  "bytes-behind-the-header-block": only(edited((bytes) => (bytes[8191] = 1)), "HEADER_FORM"),
  "manifest-above-the-limit": both(block((bytes) => bytes.writeBigUInt64LE(2n ** 60n, 80)), "LIMIT_MANIFEST"),
  "bytes-of-the-manifest": both(edited((bytes, { manifest }) => (bytes[manifest.offset + 30] ^= 1)), "MANIFEST_DIGEST"),
  "bytes-of-the-info": both(edited((bytes, { info }) => (bytes[info.offset + 30] ^= 1)), "INFO_DIGEST"),
  "bytes-of-the-index": both(edited((bytes, { index }) => (bytes[index.offset] ^= 1)), "DIGEST"),
  "bytes-of-an-array": both(edited((bytes) => (bytes[8192] ^= 1)), "DIGEST"),
  "index-of-another-size": both(block((bytes) => bytes.writeBigUInt64LE(16n, 176)), "ARRAY_MISSING"),
  "gzip-that-is-not-used": both(block((bytes) => bytes.write("gzip", 40)), null),
  "offset-of-the-empty-blocks": both(block((bytes) => bytes.writeBigUInt64LE(2n ** 63n, 216)), null),
};
