/** The data model: what a tree is made of, each kind as one JavaScript type (section 2). */

import { DTYPES } from "./registry.mjs";
import { refuse, shown } from "./errors.mjs";

/*
 * null and bool are themselves, int is a BigInt, str a string, bytes a Uint8Array, list an Array. No kind is a JavaScript
 * number: 1 and 1.0 are one value there, and the payload of a NaN may change on its way through one.
 */

/** A float: the 64 bits of a binary64. */
export class Float {
  constructor(bits) {
    this.bits = BigInt.asUintN(64, bits);
  }

  static of(number) {
    return new Float(new DataView(new Float64Array([number]).buffer).getBigUint64(0, true));
  }

  get value() {
    return new Float64Array(new BigUint64Array([this.bits]).buffer)[0];
  }
}

/** A complex number: two floats. */
export class Complex {
  constructor(real, imaginary) {
    this.real = real;
    this.imaginary = imaginary;
  }
}

/** An interned name, never equal to the str of the same text. */
export class Name {
  constructor(text) {
    this.text = text;
  }
}

/** One element of a dtype: its canonical bytes ([E-2]). */
export class Scalar {
  constructor(dtype, bytes) {
    this.dtype = dtype;
    this.bytes = bytes;
  }
}

/** An array: dtype, shape and canonical bytes. Two leaves that are one object are tied ([D-7]). */
export class StateArray {
  constructor(dtype, shape, bytes) {
    this.dtype = dtype;
    this.shape = shape;
    this.bytes = bytes;
  }
}

/** Ordered pairs of key and node. */
export class Dict {
  constructor(pairs = []) {
    this.pairs = pairs;
  }

  /** The node of a key of the same kind and value, or undefined. */
  get(key) {
    const wanted = keyIdentity(key);
    return this.pairs.find(([other]) => keyIdentity(other) === wanted)?.[1];
  }
}

export class Tuple {
  constructor(items = []) {
    this.items = items;
  }
}

/** Ordered pairs of field name and node under a label, or null. */
export class Record {
  constructor(label, fields = []) {
    this.label = label;
    this.fields = fields;
  }

  get(name) {
    return this.fields.find(([other]) => other === name)?.[1];
  }
}

export const kindOf = (value) => {
  if (value === null) return "null";
  const primitive = { boolean: "bool", bigint: "int", string: "str" }[typeof value];
  return primitive ?? KINDS.get(Object.getPrototypeOf(Object(value))) ?? null;
};

const KINDS = new Map([
  [Float.prototype, "float"],
  [Complex.prototype, "complex"],
  [Uint8Array.prototype, "bytes"],
  [Buffer.prototype, "bytes"],
  [Name.prototype, "symbol"],
  [Scalar.prototype, "scalar"],
  [StateArray.prototype, "array"],
  [Dict.prototype, "dict"],
  [Array.prototype, "list"],
  [Tuple.prototype, "tuple"],
  [Record.prototype, "record"],
]);

/** A text that is the same for two keys if, and only if, they are of one kind and value; with `folded`, true is 1 ([D-3]). */
export function keyIdentity(key, folded = false) {
  switch (kindOf(key)) {
    case "str":
      return `s${key}`;
    case "int":
      return `i${key}`;
    case "bool":
      return folded ? `i${Number(key)}` : `b${key}`;
    case "null":
      return "n";
    case "bytes":
      return `x${Buffer.from(key).toString("hex")}`;
    case "symbol":
      return `y${key.text}`;
    default:
      return `(${key.items.map((item) => keyIdentity(item, folded)).map((text) => `${text.length}:${text}`).join("")})`;
  }
}

/** Size in bytes of the canonical bytes of a dtype and shape, exactly. */
export const sizeOf = (dtype, shape) => shape.reduce((size, extent) => size * BigInt(extent), BigInt(DTYPES.get(dtype).itemsize));

/** The largest byte that an element of a dtype may be, or null if any may ([E-3]). */
export function largestByte(dtype) {
  if (dtype === "bool") return 1;
  const { bits } = DTYPES.get(dtype);
  return bits < 8 ? 2 ** bits - 1 : null;
}

/** Refuses bytes that no element of the dtype has ([E-3]). */
export function judgeElements(dtype, bytes, where) {
  const largest = largestByte(dtype);
  if (largest === null) return;
  const wrong = bytes.find((byte) => byte > largest);
  if (wrong === undefined) return;
  const code = dtype === "bool" ? "BOOL_VALUE" : "SUBBYTE_RANGE";
  refuse(code, `elements of ${dtype}, at most ${largest}`, shown(wrong), where);
}
