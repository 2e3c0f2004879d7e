/** A tree as the text of its manifest; whatever is no tree is refused before a byte is written ([D-5] to [D-9], [N-1], [M-5]). */

import { isProxy } from "node:util/types";
import { ArrayDigest } from "./digest.mjs";
import { refuse, shown } from "./errors.mjs";
import { decodeManifest, judgeShape, VERSION } from "./manifest.mjs";
import { pathText } from "./path.mjs";
import { DTYPES } from "./registry.mjs";
import { kindOf, largestByte } from "./tree.mjs";

const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);
const KEYS = new Set(["str", "int", "bool", "null", "bytes", "symbol", "tuple"]);

/**
 * What a save writes: the manifest's text, the manifest as a reader decodes it, the canonical bytes of each array and the joined
 * block digests. A text that a reader would refuse with these limits is refused here.
 */
export function encodeTree(tree, algorithm, limits) {
  const encoder = new NodeEncoder(limits);
  const node = encoder.node(tree, 0);
  const digests = encoder.arrays.map(({ bytes }) => digestOf(algorithm, bytes));
  const table = encoder.arrays.map(({ dtype, shape }, index) => entryText(digests[index].hex, dtype, shape));
  const text = `{"algorithm":"${algorithm}","arrays":[${table.join(",")}],"features":[],"statetree":"${VERSION}","tree":${node}}`;
  const manifestBytes = Buffer.from(text);
  if (manifestBytes.length > limits.manifest_bytes) {
    refuse("LIMIT_MANIFEST", `a manifest of at most ${limits.manifest_bytes} bytes`, `${manifestBytes.length}`);
  }
  const manifest = decodeManifest(manifestBytes, limits);
  const blocks = Buffer.concat(digests.map((digest) => digest.blocks));
  return { manifestBytes, manifest, arrays: encoder.arrays.map(({ bytes }) => bytes), blocks };
}

/** The JSON node of a dict that names no array, for the info text. */
export function encodeUser(user, limits) {
  const encoder = new NodeEncoder(limits);
  const node = encoder.node(user, 0);
  if (encoder.arrays.length > 0) refuse("ARRAY_INDEX", "no arrays in the info text", "one", { place: "info" });
  return node;
}

function digestOf(algorithm, bytes) {
  const digest = new ArrayDigest(algorithm);
  digest.update(bytes);
  return digest.finish();
}

const entryText = (hex, dtype, shape) => `{"digest":"${hex}","dtype":"${dtype}","shape":[${shape.join(",")}]}`;

class NodeEncoder {
  constructor(limits) {
    this.limits = limits;
    this.path = [];
    this.around = new Set();
    this.arrays = [];
    this.indexOf = new Map();
    this.buffers = new Map();
  }

  refuse(code, expected, found, remedy = null) {
    return refuse(code, expected, found, { path: pathText(this.path), remedy });
  }

  node(value, depth) {
    const kind = this.kind(value);
    switch (kind) {
      case "float":
        return `{"float":"${floatBits(value)}"}`;
      case "complex":
        return `{"complex":["${floatBits(value.real)}","${floatBits(value.imaginary)}"]}`;
      case "scalar":
        return this.scalar(value);
      case "array":
        return `{"array":${this.index(value)}}`;
      case "list":
      case "tuple":
        return this.within(value, depth, () => this.sequence(kind, value, depth));
      case "dict":
        return this.within(value, depth, () => this.dict(value, depth));
      case "record":
        return this.within(value, depth, () => this.record(value, depth));
      default:
        return this.plain(kind, value);
    }
  }

  kind(value) {
    const kind = isProxy(value) ? null : kindOf(value);
    if (kind !== null) return kind;
    const remedy = typeof value === "number" ? "a BigInt is an int, Float.of(number) a float" : "save its state as values of the data model";
    return this.refuse("WRITE_TYPE", "a value of the data model", `a JavaScript ${typeof value}`, remedy);
  }

  plain(kind, value) {
    switch (kind) {
      case "str":
        return this.text(value);
      case "int":
        return intText(value);
      case "bytes":
        return `{"bytes":"${Buffer.from(value).toString("base64")}"}`;
      case "symbol":
        return `{"symbol":${this.text(value.text)}}`;
      default:
        return String(value);
    }
  }

  text(value) {
    if (typeof value !== "string") this.refuse("WRITE_TYPE", "a text", typeof value);
    if (!value.isWellFormed()) this.refuse("WRITE_TEXT", "text without lone surrogates", shown(value));
    return JSON.stringify(value);
  }

  key(value, depth) {
    const kind = isProxy(value) ? null : kindOf(value);
    if (!KEYS.has(kind)) this.refuse("KEY_TYPE", "a kind of key", kind ?? typeof value);
    if (kind !== "tuple") return this.plain(kind, value);
    return this.within(value, depth, () => `{"tuple":[${value.items.map((item) => this.key(item, depth + 1)).join(",")}]}`);
  }

  within(container, depth, encode) {
    if (this.around.has(container)) this.refuse("WRITE_CYCLE", "a tree", "a container inside of itself");
    if (depth >= this.limits.depth) this.refuse("LIMIT_DEPTH", `at most ${this.limits.depth} levels of containers`, "more");
    this.around.add(container);
    const text = encode();
    this.around.delete(container);
    return text;
  }

  below(step, value, depth) {
    this.path.push(step);
    const text = this.node(value, depth + 1);
    this.path.pop();
    return text;
  }

  sequence(kind, value, depth) {
    const items = Array.from(kind === "list" ? value : value.items);
    return `{"${kind}":[${items.map((item, position) => this.below(BigInt(position), item, depth)).join(",")}]}`;
  }

  dict(value, depth) {
    const pairs = value.pairs.map(([key, item]) => `${this.key(key, depth + 1)},${this.below(key, item, depth)}`);
    return `{"dict":[${pairs.join(",")}]}`;
  }

  record(value, depth) {
    const label = value.label === null ? "null" : this.text(value.label);
    const fields = value.fields.map(([name, item]) => `${this.text(name)},${this.below(name, item, depth)}`);
    return `{"record":[${[label, ...fields].join(",")}]}`;
  }

  dtype(name) {
    const code = ["object", "O", "|O"].includes(name) ? "WRITE_OBJECT_DTYPE" : "WRITE_DTYPE";
    return DTYPES.get(name) ?? this.refuse(code, "a dtype of version 1.0", shown(name));
  }

  scalar(value) {
    const { name, group, itemsize } = this.dtype(value.dtype);
    if (value.bytes.length !== itemsize) this.refuse("WRITE_TYPE", `${itemsize} bytes`, `${value.bytes.length}`);
    const hex = Buffer.from(normalised(name, value.bytes)).reverse().toString("hex");
    // Reversed as a whole, the imaginary part comes first.
    const parts = group === "complex" ? [hex.slice(itemsize), hex.slice(0, itemsize)] : [hex];
    return `{"scalar":["${name}",${parts.map((part) => `"${part}"`).join(",")}]}`;
  }

  /** The index of an array; those of one memory, dtype and shape are one ([D-7]). */
  index(value) {
    const identity = this.identity(value);
    const known = this.indexOf.get(identity);
    if (known !== undefined) return known;
    this.judgeArray(value);
    this.indexOf.set(identity, this.arrays.length);
    this.arrays.push({ dtype: value.dtype, shape: value.shape, bytes: normalised(value.dtype, value.bytes) });
    return this.arrays.length - 1;
  }

  identity(value) {
    const { dtype, shape, bytes } = value;
    if (!(bytes instanceof Uint8Array) || bytes.length === 0) return value;
    if (!this.buffers.has(bytes.buffer)) this.buffers.set(bytes.buffer, this.buffers.size);
    return `${this.buffers.get(bytes.buffer)} ${bytes.byteOffset} ${dtype} ${shape}`;
  }

  judgeArray({ dtype, shape, bytes }) {
    this.dtype(dtype);
    const size = judgeShape(dtype, shape, this.limits, { path: pathText(this.path) });
    if (!(bytes instanceof Uint8Array) || bytes.length !== size) {
      this.refuse("WRITE_TYPE", `an array of ${size} canonical bytes`, `${bytes?.length}`);
    }
  }
}

const floatBits = (float) => float.bits.toString(16).padStart(16, "0");

function intText(value) {
  const magnitude = value < 0n ? -value : value;
  return magnitude <= LARGEST ? value.toString() : `{"int":"${value.toString(16)}"}`;
}

/** The canonical bytes: unused upper bits zero, bools 0 or 1 ([D-9]); a copy only where that changes something. */
function normalised(dtype, bytes) {
  const largest = largestByte(dtype);
  if (largest === null || bytes.every((byte) => byte <= largest)) return bytes;
  return bytes.map((byte) => (dtype === "bool" ? Number(byte !== 0) : byte & largest));
}
