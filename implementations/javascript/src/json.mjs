/** Canonical JSON: a strict parser that judges while it reads, and the one text of a value (section 4.1, [J-1]). */

import { refuse, shown } from "./errors.mjs";

const MAX_LEVELS = 128;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const NONFINITE = /-?(?:NaN|Infinity)/y;
const SHORT = new Map([["\b", "b"], ["\t", "t"], ["\n", "n"], ["\f", "f"], ["\r", "r"]]);
const ESCAPES = new Map([['"', '"'], ["\\", "\\"], ["/", "/"], ...[...SHORT].map(([character, letter]) => [letter, character])]);

/** A number that is no integer of the one form: its text, since nothing else of it is to be trusted. */
export class JsonNumber {
  constructor(text) {
    this.text = text;
  }
}

/**
 * The value of a canonical text: null, booleans, strings, numbers, BigInts beyond ±(2^53−1), arrays, and Maps for objects.
 * Whatever is not canonical is refused.
 */
export function parseCanonical(bytes, place) {
  return new Parser(decode(bytes, place), place, true).whole();
}

/** The value of a JSON text with unique members, not more; other numbers are `JsonNumber`s ([Z-9]). */
export function parseLoosely(bytes, place) {
  return new Parser(decode(bytes, place), place, false).whole();
}

/** The canonical text of a value as `parseCanonical` gives it. */
export function canonicalText(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(",")}]`;
  if (value instanceof Map) {
    const names = [...value.keys()].sort();
    return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalText(value.get(name))}`).join(",")}}`;
  }
  return typeof value === "bigint" ? value.toString() : JSON.stringify(value);
}

function decode(bytes, place) {
  const mark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const wide = bytes.subarray(0, 4).includes(0);
  if (mark || wide) refuse("JSON_ENCODING", "UTF-8 without byte order mark", mark ? "a byte order mark" : "UTF-16", { place });
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refuse("JSON_ENCODING", "UTF-8", "other bytes", { place });
  }
}

class Parser {
  constructor(text, place, strict) {
    this.text = text;
    this.place = place;
    this.strict = strict;
    this.at = 0;
    this.level = 0;
    this.closer = null;
    this.plain = null;
  }

  /** A text that is no JSON is refused where that is seen; all else only once the whole text is known to be JSON. */
  whole() {
    this.space();
    const value = this.value();
    this.space();
    if (this.at < this.text.length) this.broken();
    const found = this.closer ?? (this.strict ? this.plain : null);
    if (found !== null) refuse(found.code, found.expected, found.found, { place: this.place });
    return value;
  }

  broken() {
    NONFINITE.lastIndex = this.at;
    if (NONFINITE.test(this.text)) refuse("JSON_NONFINITE", "JSON", "NaN or Infinity", { place: this.place });
    const found = this.at < this.text.length ? shown(this.text.slice(this.at, this.at + 20)) : "the end of the text";
    return refuse("JSON_SYNTAX", "JSON", `${found} at ${this.at}`, { place: this.place });
  }

  note(code, expected, found) {
    this.closer ??= { code, expected, found };
  }

  notCanonical(found) {
    this.plain ??= { code: "NOT_CANONICAL", expected: "canonical JSON", found: `${found} at ${this.at}` };
  }

  space() {
    const start = this.at;
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at++;
    if (this.at > start) this.notCanonical("white space");
  }

  value() {
    switch (this.text[this.at]) {
      case "{":
        return this.nested(() => this.object());
      case "[":
        return this.nested(() => this.array());
      case '"':
        return this.string();
      case "t":
        return this.word("true", true);
      case "f":
        return this.word("false", false);
      case "n":
        return this.word("null", null);
      default:
        return this.number();
    }
  }

  nested(parse) {
    if (++this.level > MAX_LEVELS) refuse("LIMIT_DEPTH", `at most ${MAX_LEVELS} levels of JSON`, "more", { place: this.place });
    this.at++;
    const value = parse();
    this.level--;
    return value;
  }

  word(text, value) {
    if (!this.text.startsWith(text, this.at)) this.broken();
    this.at += text.length;
    return value;
  }

  number() {
    NUMBER.lastIndex = this.at;
    const match = NUMBER.exec(this.text);
    if (match === null) return this.broken();
    this.at = NUMBER.lastIndex;
    return this.numberOf(match[0], match[1] === undefined && match[2] === undefined && match[0] !== "-0");
  }

  numberOf(text, integer) {
    const number = Number(text);
    if (!Number.isFinite(number)) this.note("JSON_NUMBER_RANGE", "a number within binary64", shown(text));
    if (integer) return Number.isSafeInteger(number) ? number : BigInt(text);
    if (this.strict) this.note("JSON_NUMBER_FORM", "an integer", shown(text));
    return new JsonNumber(text);
  }

  array() {
    const items = [];
    this.space();
    if (this.text[this.at] !== "]") {
      do {
        this.space();
        items.push(this.value());
        this.space();
      } while (this.comma("]"));
    }
    this.at++;
    return items;
  }

  object() {
    const members = new Map();
    this.space();
    if (this.text[this.at] !== "}") {
      let last = null;
      do {
        this.space();
        const name = this.name();
        this.space();
        const value = this.value();
        this.space();
        if (members.has(name)) this.note("JSON_DUPLICATE_KEY", "members of different names", `${shown(name)} twice`);
        if (last !== null && name < last) this.notCanonical("members that are not sorted");
        members.set(name, value);
        last = name;
      } while (this.comma("}"));
    }
    this.at++;
    return members;
  }

  name() {
    if (this.text[this.at] !== '"') this.broken();
    const name = this.string();
    this.space();
    if (this.text[this.at] !== ":") this.broken();
    this.at++;
    return name;
  }

  /** True behind a comma, false before the end of an array or object. */
  comma(end) {
    if (this.text[this.at] === end) return false;
    if (this.text[this.at] !== ",") this.broken();
    this.at++;
    return true;
  }

  string() {
    this.at++;
    let whole = "";
    let escaped = false;
    for (;;) {
      whole += this.run();
      const stop = this.text[this.at];
      if (stop !== '"' && stop !== "\\") this.broken();
      this.at++;
      if (stop === '"') break;
      whole += this.escape();
      escaped = true;
    }
    if (escaped && this.strict && !whole.isWellFormed()) this.note("TEXT_SURROGATE", "text", "a lone surrogate");
    return whole;
  }

  /** The characters before the next quote, escape or control character. */
  run() {
    const start = this.at;
    let unit = this.text.charCodeAt(this.at);
    while (unit >= 0x20 && unit !== 0x22 && unit !== 0x5c) unit = this.text.charCodeAt(++this.at);
    return this.text.slice(start, this.at);
  }

  escape() {
    const letter = this.text[this.at];
    if (letter === "u") return this.unicode();
    const character = ESCAPES.get(letter);
    if (character === undefined) this.broken();
    if (letter === "/") this.notCanonical("an escape that is not needed");
    this.at++;
    return character;
  }

  unicode() {
    const digits = this.text.slice(this.at + 1, this.at + 5);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.broken();
    const character = String.fromCharCode(parseInt(digits, 16));
    const needed = character < " " && !SHORT.has(character) && digits === digits.toLowerCase();
    if (!needed) this.notCanonical("another escape than the one");
    this.at += 5;
    return character;
  }
}
