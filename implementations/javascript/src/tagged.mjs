/** Tagged trees: a tree as plain JSON in which every value says its kind (conformance, section 1). */

import { createHash } from "node:crypto";
import { refuse, shown } from "./errors.mjs";
import { DTYPES } from "./registry.mjs";
import { Complex, Dict, Float, kindOf, Name, Record, Scalar, StateArray, Tuple } from "./tree.mjs";

const HEX_UP_TO = 4096;
const MAX_DEPTH = 1000;

/** The tagged tree of a tree. */
export const toTagged = (tree) => tagged(tree, new Map());

function tagged(value, ids) {
  const k = kindOf(value);
  const below = (item) => tagged(item, ids);
  switch (k) {
    case "null":
      return { k };
    case "bool":
    case "str":
      return { k, v: value };
    case "symbol":
      return { k, v: value.text };
    case "int":
      return { k, hex: value.toString(16) };
    case "float":
      return { k, bits: bitsOf(value) };
    case "complex":
      return { k, bits: [bitsOf(value.real), bitsOf(value.imaginary)] };
    case "bytes":
      return { k, hex: Buffer.from(value).toString("hex") };
    case "scalar":
      return { k, dtype: value.dtype, bits: scalarBits(value) };
    case "array":
      return arrayNode(value, ids);
    case "dict":
      return { k, items: value.pairs.map(([key, item]) => [below(key), below(item)]) };
    case "record":
      return { k, label: value.label, fields: value.fields.map(([name, item]) => [name, below(item)]) };
    default:
      return { k, items: (k === "tuple" ? value.items : value).map(below) };
  }
}

const bitsOf = (float) => float.bits.toString(16).padStart(16, "0");

const reversedHex = (bytes) => Buffer.from(bytes).reverse().toString("hex");

function scalarBits({ dtype, bytes }) {
  if (DTYPES.get(dtype).group !== "complex") return reversedHex(bytes);
  const half = bytes.length / 2;
  return [reversedHex(bytes.subarray(0, half)), reversedHex(bytes.subarray(half))];
}

function arrayNode(array, ids) {
  if (!ids.has(array)) ids.set(array, ids.size);
  const sha256 = createHash("sha256").update(array.bytes).digest("hex");
  const hex = array.bytes.length <= HEX_UP_TO ? { hex: Buffer.from(array.bytes).toString("hex") } : {};
  return { k: "array", id: ids.get(array), dtype: array.dtype, shape: array.shape.map(String), sha256, ...hex };
}

/** The tree of a tagged tree, with what no tree may hold left for the writer to refuse. */
export const fromTagged = (json) => untagged(json, new Map(), 0);

function untagged(json, arrays, depth) {
  if (depth > MAX_DEPTH) refuse("LIMIT_DEPTH", "a tree of containers that nest at most 60 deep", "a deeper one");
  const below = (item) => untagged(item, arrays, depth + 1);
  switch (json.k) {
    case "null":
      return null;
    case "bool":
    case "str":
      return json.v;
    case "symbol":
      return new Name(json.v);
    case "int":
      return intOf(json.hex);
    case "float":
      return floatOf(json.bits);
    case "complex":
      return new Complex(...json.bits.map(floatOf));
    case "bytes":
      return Buffer.from(json.hex, "hex");
    case "scalar":
      return new Scalar(json.dtype, Buffer.concat([json.bits].flat().map((bits) => Buffer.from(bits, "hex").reverse())));
    case "array":
      return arrayOf(json, arrays);
    case "dict":
      return new Dict(json.items.map(([key, item]) => [below(key), below(item)]));
    case "record":
      return new Record(json.label, json.fields.map(([name, item]) => [name, below(item)]));
    case "list":
      return json.items.map(below);
    case "tuple":
      return new Tuple(json.items.map(below));
    default:
      return refuse("WRITE_TYPE", "a kind of section 2", shown(json.k));
  }
}

const floatOf = (bits) => new Float(BigInt(`0x${bits}`));

const intOf = (hex) => (hex.startsWith("-") ? -BigInt(`0x${hex.slice(1)}`) : BigInt(`0x${hex}`));

function arrayOf({ id, dtype, shape, hex }, arrays) {
  if (!arrays.has(id)) {
    if (hex === undefined) throw new Error(`array ${id} has no hex, so that its bytes are not known`);
    arrays.set(id, new StateArray(dtype, shape.map(Number), Buffer.from(hex, "hex")));
  }
  return arrays.get(id);
}
