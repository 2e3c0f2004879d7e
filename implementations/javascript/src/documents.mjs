/** BSON documents: a strict parser of the element types that the format has ([B-7]), and their bytes. */

import { refuse, shown } from "./errors.mjs";

/** Above this a document is no document of the format ([B-1]). */
export const MAX_DOCUMENT = 16 * 2 ** 20;

const MAX_NESTED = 4;
const [STRING, DOCUMENT, ARRAY, BINARY, INT32, INT64] = [0x02, 0x03, 0x04, 0x05, 0x10, 0x12];
const CODE = new Set([0x0d, 0x0f]);
const NAMES = new Map([[STRING, "string"], [DOCUMENT, "document"], [ARRAY, "array"], [BINARY, "binary"], [INT32, "int32"], [INT64, "int64"]]);

/** The elements of the document that `bytes` are, as [{name, type, value}]. */
export function parseDocument(bytes, place) {
  return new DocumentParser(bytes, place).elements(0, bytes.length, 0, false);
}

/** Refuses elements that have not exactly these names and types in this order ([B-2], [B-3], [B-4]); returns their values. */
export function valuesOf(elements, form, place) {
  const wanted = Object.keys(form);
  const found = elements.map(({ name }) => name);
  if (found.join("\0") !== wanted.join("\0") || found.length !== wanted.length) {
    refuse("BSON_CHUNKS", `the elements ${wanted.join(", ")}`, shown(found.join(", ")), { place });
  }
  for (const { name, type } of elements) {
    if (type !== form[name]) refuse("BSON_TYPE", `${form[name]} as ${name}`, type, { place });
  }
  return Object.fromEntries(elements.map(({ name, value }) => [name, value]));
}

class DocumentParser {
  constructor(bytes, place) {
    this.bytes = bytes;
    this.place = place;
  }

  framing(expected, found) {
    return refuse("BSON_FRAMING", expected, found, { place: this.place });
  }

  elements(start, end, depth, isArray) {
    if (depth > MAX_NESTED) refuse("LIMIT_DEPTH", `at most ${MAX_NESTED} levels of documents`, "more", { place: this.place });
    const length = end - start;
    if (length < 5 || this.bytes.readInt32LE(start) !== length) this.framing(`a document of ${length} bytes`, "another length");
    if (this.bytes[end - 1] !== 0) this.framing("a zero byte at the end of a document", "another");
    const elements = [];
    const seen = new Set();
    let at = start + 4;
    while (at < end - 1) {
      if (this.bytes[at] === 0) this.framing("the end of the document", "bytes behind it");
      const element = this.element(at, end - 1, depth);
      this.judgeName(element.name, seen, isArray);
      elements.push(element);
      at = element.end;
    }
    return elements;
  }

  judgeName(name, seen, isArray) {
    if (isArray && name !== String(seen.size)) refuse("BSON_ARRAY_KEYS", `the key ${seen.size}`, shown(name), { place: this.place });
    if (seen.has(name)) refuse("BSON_DUPLICATE_KEY", "names that differ", `${shown(name)} twice`, { place: this.place });
    seen.add(name);
  }

  element(at, limit, depth) {
    const code = this.bytes[at];
    const zero = this.bytes.indexOf(0, at + 1);
    if (zero < 0 || zero >= limit) this.framing("a zero byte behind a name", "none");
    const name = this.utf8(at + 1, zero);
    const type = NAMES.get(code);
    if (type === undefined) {
      const wrong = CODE.has(code) ? "PICKLE_CODE" : "BSON_TYPE";
      refuse(wrong, "a type of the format", `type ${code} of ${shown(name)}`, { place: this.place });
    }
    return { name, type, ...this.value(code, zero + 1, limit, depth) };
  }

  value(code, at, limit, depth) {
    switch (code) {
      case STRING:
        return this.string(at, limit);
      case BINARY:
        return this.binary(at, limit);
      case INT32:
        return { value: this.bytes.readInt32LE(this.room(at, 4, limit)), end: at + 4 };
      case INT64:
        return { value: this.bytes.readBigInt64LE(this.room(at, 8, limit)), end: at + 8 };
      default:
        return this.nested(code, at, limit, depth);
    }
  }

  room(at, length, limit) {
    if (at + length > limit) this.framing("an element inside of its document", "one that ends behind it");
    return at;
  }

  length(at, limit) {
    return this.bytes.readInt32LE(this.room(at, 4, limit));
  }

  nested(code, at, limit, depth) {
    const length = this.length(at, limit);
    if (length < 5) this.framing("a document of 5 bytes or more", `${length}`);
    this.room(at, length, limit);
    return { value: this.elements(at, at + length, depth + 1, code === ARRAY), end: at + length };
  }

  string(at, limit) {
    const length = this.length(at, limit);
    const end = at + 4 + length;
    if (length < 1 || end > limit || this.bytes[end - 1] !== 0) {
      refuse("BSON_STRING", "a string inside of its document with a zero byte", `length ${length}`, { place: this.place });
    }
    return { value: this.utf8(at + 4, end - 1), end };
  }

  binary(at, limit) {
    const length = this.length(at, limit);
    if (length < 0) this.framing("a length of 0 or more", `${length}`);
    this.room(at, 5 + length, limit);
    const subtype = this.bytes[at + 4];
    if (subtype !== 0) refuse("BSON_TYPE", "binary of subtype 0", `subtype ${subtype}`, { place: this.place });
    return { value: this.bytes.subarray(at + 5, at + 5 + length), end: at + 5 + length };
  }

  utf8(start, end) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.bytes.subarray(start, end));
    } catch {
      return refuse("BSON_STRING", "UTF-8", "other bytes", { place: this.place });
    }
  }
}

const int32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
};

const int64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes;
};

const element = (code, name, ...value) => Buffer.concat([Buffer.from([code]), Buffer.from(`${name}\0`), ...value]);

/** The bytes of elements, by the type of each. */
export const encoded = {
  string: (name, text) => element(STRING, name, int32(Buffer.byteLength(text) + 1), Buffer.from(`${text}\0`)),
  int32: (name, value) => element(INT32, name, int32(value)),
  int64: (name, value) => element(INT64, name, int64(value)),
  binary: (name, bytes) => element(BINARY, name, int32(bytes.length), Buffer.of(0), bytes),
  int64s: (name, values) => element(ARRAY, name, document(values.map((value, at) => encoded.int64(String(at), value)))),
};

/** The document of these elements. */
export function document(elements) {
  const body = Buffer.concat(elements);
  return Buffer.concat([int32(body.length + 5), body, Buffer.of(0)]);
}
