/** Nodes of the manifest as values of a tree, and what is wrong with them (section 4.2; keys: [D-2], [D-3]; depth: [D-8]). */

import { refuse, shown } from "./errors.mjs";
import { DTYPES } from "./registry.mjs";
import { arrayName, pathText } from "./path.mjs";
import { Complex, Dict, Float, Name, Record, Scalar, Tuple, judgeElements, keyIdentity } from "./tree.mjs";

const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);
const KEY_KINDS = new Set(["int", "bytes", "symbol", "tuple"]);
const PICKLED = new Set(["object", "O", "|O"]);

/** The JSON type of a parsed value, as the texts of refusals name it. */
export function jsonType(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Map) return "an object";
  return { boolean: "a boolean", string: "a string" }[typeof value] ?? "a number";
}

/** Refuses a name of no dtype ([E-1]). */
export function judgeDtype(name, where) {
  if (typeof name !== "string") refuse("SCHEMA_TYPE", "the name of a dtype", jsonType(name), where);
  if (PICKLED.has(name)) refuse("PICKLE_OBJECT_DTYPE", "a dtype of numbers", shown(name), where);
  if (!DTYPES.has(name)) refuse("DTYPE_UNKNOWN", "a dtype of version 1.0", shown(name), where);
}

/**
 * Reads nodes. `entries` is the table of arrays: objects with the `array` of the tree, each of which gets its `name` where it is
 * first met. One decoder reads one tree.
 */
export class NodeDecoder {
  constructor(entries, limits, place) {
    this.entries = entries;
    this.limits = limits;
    this.place = place;
    this.path = [];
    this.count = 0;
    this.met = 0;
  }

  where() {
    return { path: pathText(this.path), place: this.place };
  }

  refuse(code, expected, found) {
    return refuse(code, expected, found, this.where());
  }

  counted() {
    if (++this.count > this.limits.nodes) this.refuse("LIMIT_NODES", `at most ${this.limits.nodes} nodes and keys`, "more");
  }

  root(json) {
    const value = this.node(json, 0);
    if (this.met < this.entries.length) {
      this.refuse("ARRAY_ORPHAN", "every array of the table in the tree", `array ${this.met} nowhere`);
    }
    return value;
  }

  node(json, depth) {
    this.counted();
    if (typeof json === "string") return this.str(json);
    if (typeof json !== "object") return this.plain(json);
    if (json === null) return null;
    const [kind, value] = this.single(json);
    switch (kind) {
      case "array":
        return this.array(value);
      case "float":
        return new Float(this.bits(value));
      case "complex":
        return this.complex(value);
      case "scalar":
        return this.scalar(value);
      case "list":
        return this.items(value, depth);
      case "dict":
        return this.dict(value, depth);
      case "record":
        return this.record(value, depth);
      case "tuple":
        return new Tuple(this.items(value, depth));
      default:
        return this.keyLike(kind, value, "string_bytes", "LIMIT_STRING");
    }
  }

  key(json, depth) {
    this.counted();
    if (typeof json === "string") return this.named(json);
    if (typeof json !== "object") return this.plain(json);
    if (json === null) return null;
    const [kind, value] = this.single(json);
    if (!KEY_KINDS.has(kind)) this.refuse("KEY_FORM", "a kind of key", shown(kind));
    if (kind === "tuple") return this.tupleKey(value, depth);
    return this.keyLike(kind, value, "key_bytes", "LIMIT_KEY");
  }

  single(json) {
    if (!(json instanceof Map) || json.size !== 1) {
      const found = json instanceof Map ? `an object of ${json.size}` : jsonType(json);
      this.refuse("NODE_KIND", "an object with one member named after a kind", found);
    }
    return json.entries().next().value;
  }

  plain(json) {
    if (typeof json === "boolean") return json;
    if (typeof json === "number") return BigInt(json);
    return this.refuse("INT_FORM", "an integer beyond ±(2^53−1) as hexadecimal text", "a number");
  }

  keyLike(kind, value, limit, code) {
    switch (kind) {
      case "int":
        return this.int(value);
      case "bytes":
        return this.bytes(value, this.limits[limit], code);
      case "symbol":
        return new Name(this.named(this.string(value)));
      default:
        return this.refuse("NODE_KIND", "a kind of node", shown(kind));
    }
  }

  string(value) {
    return typeof value === "string" ? value : this.refuse("SCHEMA_TYPE", "a string", jsonType(value));
  }

  list(value) {
    return Array.isArray(value) ? value : this.refuse("SCHEMA_TYPE", "a list", jsonType(value));
  }

  str(text) {
    return this.within(text, Buffer.byteLength(text), this.limits.string_bytes, "LIMIT_STRING");
  }

  /** A key, field name, label or symbol. */
  named(text) {
    return this.within(text, Buffer.byteLength(text), this.limits.key_bytes, "LIMIT_KEY");
  }

  within(value, size, limit, code) {
    return size <= limit ? value : this.refuse(code, `at most ${limit} bytes`, `${size}`);
  }

  int(value) {
    if (typeof value !== "string" || !/^-?[1-9a-f][0-9a-f]*$/.test(value)) {
      this.refuse("INT_FORM", "hexadecimal digits", shown(value));
    }
    const negative = value.startsWith("-");
    const digits = negative ? value.slice(1) : value;
    if (digits.length > this.limits.integer_digits) {
      this.refuse("LIMIT_INTEGER", `at most ${this.limits.integer_digits} digits`, `${digits.length}`);
    }
    const magnitude = BigInt(`0x${digits}`);
    if (magnitude <= LARGEST) this.refuse("INT_FORM", "a JSON integer within ±(2^53−1)", shown(value));
    return negative ? -magnitude : magnitude;
  }

  bytes(value, limit, code) {
    const bytes = typeof value === "string" ? Buffer.from(value, "base64") : null;
    if (bytes?.toString("base64") !== value) this.refuse("BYTES_FORM", "canonical base64", shown(value));
    return this.within(bytes, bytes.length, limit, code);
  }

  digits(value, count) {
    if (typeof value !== "string" || value.length !== count || !/^[0-9a-f]*$/.test(value)) {
      this.refuse("FLOAT_FORM", `${count} hexadecimal digits`, shown(value));
    }
    return value;
  }

  bits(value) {
    return BigInt(`0x${this.digits(value, 16)}`);
  }

  complex(value) {
    if (!Array.isArray(value) || value.length !== 2) this.refuse("FLOAT_FORM", "two floats", jsonType(value));
    return new Complex(new Float(this.bits(value[0])), new Float(this.bits(value[1])));
  }

  scalar(value) {
    const [dtype, ...parts] = this.list(value);
    if (value.length === 0) this.refuse("FLOAT_FORM", "a dtype and bits", "nothing");
    judgeDtype(dtype, this.where());
    const { group, itemsize } = DTYPES.get(dtype);
    const wanted = group === "complex" ? 2 : 1;
    if (parts.length !== wanted) this.refuse("FLOAT_FORM", `the bits of ${wanted} numbers`, `${parts.length}`);
    const bytes = parts.map((part) => Buffer.from(this.digits(part, (2 * itemsize) / wanted), "hex").reverse());
    judgeElements(dtype, Buffer.concat(bytes), this.where());
    return new Scalar(dtype, Buffer.concat(bytes));
  }

  array(value) {
    const entry = typeof value === "number" ? this.entries[value] : undefined;
    if (entry === undefined) this.refuse("ARRAY_INDEX", "an index into the table of arrays", shown(value));
    if (value > this.met) this.refuse("ARRAY_ORDER", `array ${this.met} before those behind it`, `array ${value}`);
    if (value === this.met) {
      entry.name = arrayName(value, this.entries.length, this.path);
      entry.path = pathText(this.path);
      this.met++;
    }
    return entry.array;
  }

  inside(value, depth) {
    if (depth >= this.limits.depth) this.refuse("LIMIT_DEPTH", `at most ${this.limits.depth} levels of containers`, "more");
    return this.list(value);
  }

  /** A node below this one, at one more step of the path. */
  below(step, json, depth) {
    this.path.push(step);
    const value = this.node(json, depth);
    this.path.pop();
    return value;
  }

  items(value, depth) {
    return this.inside(value, depth).map((item, position) => this.below(BigInt(position), item, depth + 1));
  }

  tupleKey(value, depth) {
    return new Tuple(this.inside(value, depth).map((item) => this.key(item, depth + 1)));
  }

  dict(value, depth) {
    if (this.inside(value, depth).length % 2 === 1) this.refuse("NODE_KIND", "keys and nodes in pairs", "an odd number of items");
    const seen = new Map();
    const pairs = [];
    for (let at = 0; at < value.length; at += 2) {
      const key = this.key(value[at], depth + 1);
      this.judgeKey(key, seen);
      pairs.push([key, this.below(key, value[at + 1], depth + 1)]);
    }
    return new Dict(pairs);
  }

  judgeKey(key, seen) {
    const folded = keyIdentity(key, true);
    const exact = keyIdentity(key);
    const before = seen.get(folded);
    if (before === exact) this.refuse("KEY_DUPLICATE", "keys that differ", `${shown(pathText([key]))} twice`);
    if (before !== undefined) {
      this.refuse("KEY_COLLISION", "keys that differ when true is 1", `${shown(pathText([key]))} beside its equal`);
    }
    seen.set(folded, exact);
  }

  record(value, depth) {
    if (this.inside(value, depth).length % 2 === 0) this.refuse("NODE_KIND", "a label and pairs", "an even number of items");
    const label = value[0];
    if (label !== null && typeof label !== "string") this.refuse("NODE_KIND", "a string or null as label", jsonType(label));
    if (label !== null) this.named(label);
    const seen = new Set();
    const fields = [];
    for (let at = 1; at < value.length; at += 2) {
      const name = this.fieldName(value[at], seen);
      fields.push([name, this.below(name, value[at + 1], depth + 1)]);
    }
    return new Record(label, fields);
  }

  fieldName(value, seen) {
    this.counted();
    const name = this.named(this.string(value));
    if (seen.has(name)) this.refuse("KEY_DUPLICATE", "field names that differ", `${shown(name)} twice`);
    seen.add(name);
    return name;
  }
}
