/** BSON files that a reader or a validator refuses: name -> {make, load, validate}, with the codes (null: accepted). */

import { encodeBlock } from "../src/block.mjs";
import { digest } from "../src/digest.mjs";
import { document, encoded } from "../src/documents.mjs";
import { bson, changed, contentOf, exampleTree, sealed } from "./making.mjs";

const { string, int32, int64, binary, int64s } = encoded;
const BEHIND_BLOCK = 1;

/** The example file after a change of its bytes. */
const edited = (change) => (name) => changed(bson(name, contentOf(exampleTree())), change);

/** The example file after a change of its header block, which gets its digest again. */
const block = (change) => edited((bytes) => {
  const at = bytes.length - 512 - BEHIND_BLOCK;
  change(bytes.subarray(at, at + 512));
  sealed(bytes.subarray(at, at + 512));
});

/** A file of documents, each made at its place: what `parts` change are elements and rows of the example. */
function built(change = {}) {
  return (name) => changed(bson(name, contentOf(exampleTree())), () => new Builder(change).bytes());
}

class Builder {
  constructor(change) {
    this.change = change;
    this.pieces = [];
    this.at = 0;
  }

  write(bytes) {
    const offset = this.at;
    this.pieces.push(bytes);
    this.at += bytes.length;
    return offset;
  }

  padded(head, payload, pad = null) {
    const empty = document([...head, binary("pad", Buffer.alloc(0)), binary("data", Buffer.alloc(0))]);
    const start = this.at + empty.length - 1;
    const zeros = pad ?? Buffer.alloc((64 - (start % 64)) % 64);
    const offset = this.write(document([...head, binary("pad", zeros), binary("data", payload)]));
    return { offset, payload: start + zeros.length };
  }

  text(name, bytes) {
    const { offset } = this.padded((this.change.textHead ?? ((kind) => [string("kind", kind), int32("n", 0)]))(name), bytes);
    return { offset, size: bytes.length, digest: digest("xxh3-128", bytes) };
  }

  bytes() {
    const { change } = this;
    const content = contentOf(exampleTree());
    const { entries } = content.manifest;
    this.write(document((change.header ?? ((elements) => elements))([string("statetree", "1.0"), string("algorithm", "xxh3-128"), int64("arrays", 2)])));
    const rows = entries.map(({ name, dtype, shape }, array) => {
      const head = [int32("array", array), int32("n", 0), string("name", name), string("dtype", dtype), int64s("shape", shape)];
      const { payload } = this.padded((change.head ?? ((elements) => elements))(head, array), content.arrays[array], change.pad?.(array));
      return [array, 0, payload, content.arrays[array].length];
    });
    if (change.between) this.write(change.between);
    const index = (change.rows ?? ((all) => all))(rows);
    const rowBytes = Buffer.concat(index.map(rowOf));
    const texts = { blocks: change.blocks ?? content.blocks, index: rowBytes, info: content.infoBytes, manifest: content.manifestBytes };
    const order = change.order ?? ["blocks", "index", "info", "manifest"];
    const parts = Object.fromEntries(order.map((text) => [text, this.text(text, texts[text])]));
    const trailer = encodeBlock({ algorithm: "xxh3-128", arrays: 2, rows: index.length, parts: (change.parts ?? ((all) => all))(parts) });
    this.write(document((change.trailer ?? ((elements) => elements))([string("kind", "trailer"), binary("data", trailer)])));
    return Buffer.concat(this.pieces);
  }
}

function rowOf([array, n, offset, size]) {
  const row = Buffer.alloc(24);
  row.writeUInt32LE(array, 0);
  row.writeUInt32LE(n, 4);
  row.writeBigUInt64LE(BigInt(offset), 8);
  row.writeBigUInt64LE(BigInt(size), 16);
  return row;
}

const element = (code, name, value) => Buffer.concat([Buffer.from([code]), Buffer.from(`${name}\0`), Buffer.from(value)]);

const both = (make, code) => ({ make, load: code, validate: code });
const only = (make, code) => ({ make, load: null, validate: code });

/** Bytes of the header document, whose version begins at 19 and whose algorithm is behind it. */
const at = (offset, ...bytes) => edited((file) => void Buffer.from(bytes).copy(file, offset));

export const BSON = {
  "built": both(built(), null),
  "another-name": both(at(5, 0x53), "NOT_STATETREE"),
  "cut-by-a-byte": both(edited((bytes) => bytes.subarray(0, -1)), "CONTAINER_TRUNCATED"),
  "cut-behind-the-header": both(edited((bytes) => bytes.subarray(0, 100)), "CONTAINER_TRUNCATED"),
  "cut-in-the-header": both(edited((bytes) => bytes.subarray(0, 40)), "BSON_FRAMING"),
  "bytes-behind-it": both(edited((bytes) => Buffer.concat([bytes, Buffer.of(0)])), "CONTAINER_TRUNCATED"),
  "version-of-a-letter": both(at(19, 0x78), "VERSION_FORM"),
  "version-with-a-zero-byte": both(at(20, 0), "VERSION_FORM"),
  "version-of-another-length": both(at(15, 3), "VERSION_FORM"),
  "version-of-a-huge-length": both(at(15, 0xff, 0xff, 0xff, 0x7f), "VERSION_FORM"),
  "major-2": both(at(19, 0x32), "VERSION_MAJOR"),
  "header-of-4097-bytes": both(at(0, 1, 0x10), "BSON_FRAMING"),
  "header-of-a-negative-length": both(at(0, 0xff, 0xff, 0xff, 0xff), "BSON_FRAMING"),
  "header-of-another-algorithm": both(built({ header: ([a, , c]) => [a, string("algorithm", "sha-256"), c] }), "BSON_CHUNKS"),
  "header-of-another-number": both(built({ header: ([a, b]) => [a, b, int64("arrays", 3)] }), "BSON_CHUNKS"),
  "header-of-another-order": both(built({ header: ([a, b, c]) => [a, c, b] }), "BSON_CHUNKS"),
  "header-with-more": both(built({ header: (all) => [...all, int32("more", 1)] }), "BSON_CHUNKS"),
  "header-with-int32": both(built({ header: ([a, b]) => [a, b, int32("arrays", 2)] }), "BSON_TYPE"),
  "header-with-a-double": both(built({ header: ([a, b]) => [a, b, element(1, "arrays", Buffer.alloc(8))] }), "BSON_TYPE"),
  "header-with-code": both(built({ header: (all) => [...all, element(0x0d, "f", "\x02\0\0\0x\0")] }), "PICKLE_CODE"),
  "header-with-a-name-twice": both(built({ header: ([a, b, c]) => [a, b, c, c] }), "BSON_DUPLICATE_KEY"),
  "header-with-a-string-without-zero": both(built({ header: ([a, b, c]) => [a, element(2, "algorithm", "\x04\0\0\0abcd"), b, c] }), "BSON_STRING"),
  "header-with-a-string-of-no-length": both(built({ header: ([a, b, c]) => [a, element(2, "algorithm", "\0\0\0\0"), b, c] }), "BSON_STRING"),
  "header-with-latin-1": both(built({ header: ([a, b, c]) => [a, element(2, "algorithm", Buffer.from("\x02\0\0\0\xff\0", "latin1")), b, c] }), "BSON_STRING"),
  "header-with-a-wild-array": both(built({ header: (all) => [...all, element(4, "x", document([int32("1", 0)]))] }), "BSON_ARRAY_KEYS"),
  "header-with-five-levels": both(
    built({ header: (all) => [...all, [0, 0, 0, 0].reduce((inner) => element(3, "x", document([inner])), element(3, "x", document([])))] }),
    "LIMIT_DEPTH",
  ),
  "header-with-an-element-beyond-it": both(built({ header: (all) => [...all, element(0x12, "x", "\0\0")] }), "BSON_FRAMING"),
  "header-that-ends-early": both(built({ header: (all) => [...all, Buffer.of(0)] }), "BSON_FRAMING"),
  "trailer-of-another-kind": both(built({ trailer: ([, data]) => [string("kind", "trailes"), data] }), "BSON_CHUNKS"),
  "trailer-of-another-name": both(built({ trailer: ([kind, data]) => [kind, Buffer.concat([data.subarray(0, 4), Buffer.from("b"), data.subarray(5)])] }), "BSON_CHUNKS"),
  "trailer-with-another-magic": both(block((bytes) => (bytes[0] = 0)), "BAD_MAGIC"),
  "block-of-major-2": both(block((bytes) => (bytes[16] = 2)), "VERSION_MAJOR"),
  "block-of-unknown-algorithm": both(block((bytes) => (bytes[24] = 0x79)), "DIGEST_ALGORITHM"),
  "block-without-its-digest": both(edited((bytes) => (bytes[bytes.length - 513 + 60] ^= 1)), "DIGEST"),
  "block-of-unknown-compression": both(block((bytes) => bytes.write("lz4", 40)), "HEADER_FORM"),
  "block-with-bytes-where-zero": both(block((bytes) => (bytes[20] = 1)), "HEADER_FORM"),
  "block-with-bytes-behind-a-digest": both(block((bytes) => (bytes[72 + 47] = 1)), "HEADER_FORM"),
  "block-with-bytes-behind-an-algorithm": both(block((bytes) => (bytes[39] = 1)), "DIGEST_ALGORITHM"),
  "block-of-another-minor": only(block((bytes) => (bytes[18] = 3)), "BACKEND_MISMATCH"),
  "header-of-another-minor": only(built({ header: ([, b, c]) => [string("statetree", "1.3"), b, c] }), "BACKEND_MISMATCH"),
  "manifest-above-the-limit": both(block((bytes) => bytes.writeBigUInt64LE(2n ** 40n, 80)), "LIMIT_MANIFEST"),
  "manifest-of-another-size": both(block((bytes) => bytes.writeBigUInt64LE(100n, 80)), "BSON_CHUNKS"),
  "manifest-behind-the-file": both(block((bytes) => bytes.writeBigUInt64LE(2n ** 63n, 72)), "BSON_CHUNKS"),
  "manifest-in-the-header": both(block((bytes) => bytes.writeBigUInt64LE(0n, 72)), "BSON_CHUNKS"),
  "manifest-in-place-of-info": both(block((bytes) => bytes.copy(bytes, 120, 72, 120)), "BSON_CHUNKS"),
  "manifest-of-another-digest": both(block((bytes) => (bytes[88] ^= 1)), "MANIFEST_DIGEST"),
  "info-of-another-digest": both(block((bytes) => (bytes[136] ^= 1)), "INFO_DIGEST"),
  "index-of-another-digest": both(block((bytes) => (bytes[184] ^= 1)), "DIGEST"),
  "blocks-of-another-digest": only(block((bytes) => (bytes[232] ^= 1)), "DIGEST"),
  "blocks-that-nobody-needs": only(built({ blocks: Buffer.alloc(16) }), "BLOCK_DIGEST"),
  "texts-with-more": both(built({ textHead: (kind) => [string("kind", kind), int32("n", 0), int32("m", 0)] }), "BSON_CHUNKS"),
  "texts-with-int64": both(built({ textHead: (kind) => [string("kind", kind), int64("n", 0)] }), "BSON_TYPE"),
  "texts-of-another-number": both(built({ textHead: (kind) => [string("kind", kind), int32("n", 1)] }), "BSON_CHUNKS"),
  "texts-in-another-order": only(built({ order: ["blocks", "index", "manifest", "info"] }), "BSON_CHUNKS"),
  "number-of-rows": both(block((bytes) => (bytes[64] = 1)), "BSON_CHUNKS"),
  "rows-in-another-order": both(built({ rows: ([a, b]) => [b, a] }), "BSON_CHUNKS"),
  "row-of-no-array": both(built({ rows: ([a, b]) => [a, [2, ...b.slice(1)]] }), "BSON_CHUNKS"),
  "row-of-another-number": both(built({ rows: ([a, [, , offset, size]]) => [a, [1, 1, offset, size]] }), "BSON_CHUNKS"),
  "row-not-aligned": both(built({ rows: ([a, [array, n, offset, size]]) => [a, [array, n, offset + 1, size]] }), "BSON_CHUNKS"),
  "row-in-the-header": both(built({ rows: ([[, , , size], b]) => [[0, 0, 0, size], b] }), "BSON_CHUNKS"),
  "row-in-a-row": both(built({ rows: ([a, [array, n, , size]]) => [a, [array, n, a[2], size]] }), "BSON_CHUNKS"),
  "row-in-the-texts": both(built({ rows: ([a, [array, n, offset, size]]) => [a, [array, n, offset + 512, size]] }), "BSON_CHUNKS"),
  "row-of-another-size": both(built({ rows: ([a, [array, n, offset]]) => [a, [array, n, offset, 3]] }), "BSON_CHUNKS"),
  "row-of-no-size": both(built({ rows: ([a, [array, n, offset]]) => [a, [array, n, offset, 0]] }), "BSON_CHUNKS"),
  "row-too-many": both(built({ rows: ([a, b]) => [a, b, [1, 1, b[2] + 64, 4]] }), "BSON_CHUNKS"),
  "row-missing": both(built({ rows: ([a]) => [a] }), "ARRAY_MISSING"),
  "no-rows": both(built({ rows: () => [] }), "ARRAY_MISSING"),
  "bytes-of-an-array": both(edited((bytes) => (bytes[0xc0] ^= 1)), "DIGEST"),
  "data-of-another-array": only(built({ head: ([, ...rest], array) => [int32("array", 1 - array), ...rest] }), "BSON_CHUNKS"),
  "data-of-another-name": only(built({ head: ([a, n, , ...rest]) => [a, n, string("name", "x"), ...rest] }), "BACKEND_MISMATCH"),
  "data-of-another-dtype": only(built({ head: ([a, n, name, , shape]) => [a, n, name, string("dtype", "int32"), shape] }), "BACKEND_MISMATCH"),
  "data-of-another-shape": only(built({ head: (all) => [...all.slice(0, 4), int64s("shape", [6])] }), "BACKEND_MISMATCH"),
  "data-with-a-compression": only(built({ head: (all) => [...all, string("compression", "gzip")] }), "BSON_CHUNKS"),
  "data-with-a-text-as-shape": only(built({ head: (all) => [...all.slice(0, 4), string("shape", "2")] }), "BSON_TYPE"),
  "pad-that-is-not-zero": only(built({ pad: (array) => (array === 0 ? Buffer.from("\x01\0\0\0\0\0\0") : null) }), "BSON_CHUNKS"),
  "pad-of-64-and-more": only(built({ pad: (array) => (array === 0 ? Buffer.alloc(71) : null) }), "BSON_CHUNKS"),
  "another-document-between": only(built({ between: document([string("x", "y")]) }), "BSON_CHUNKS"),
  "bytes-between": only(built({ between: Buffer.alloc(64) }), "BSON_CHUNKS"),
};
