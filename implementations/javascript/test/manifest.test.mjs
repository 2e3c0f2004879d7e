/** What a manifest may be (section 4): the same codes in all containers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeInfo } from "../src/info.mjs";
import { canonicalText, parseCanonical, parseLoosely } from "../src/json.mjs";
import { decodeManifest } from "../src/manifest.mjs";
import { limitsWith } from "../src/registry.mjs";
import { INFO } from "./making.mjs";
import { ACCEPTED, AROUND, REFUSED } from "./manifest-cases.mjs";

const codeOf = (act) => {
  try {
    act();
    return null;
  } catch (refusal) {
    return refusal.code ?? refusal;
  }
};

const decoded = (text, limits = {}) => decodeManifest(Buffer.from(text), limitsWith(limits));

for (const [name, [text, code]] of Object.entries(REFUSED)) {
  test(`refused: ${name}`, () => assert.equal(codeOf(() => decoded(text)), code));
}

for (const [name, text] of Object.entries(ACCEPTED)) {
  test(`accepted: ${name}`, () => assert.equal(codeOf(() => decoded(text)), null));
}

test("UTF-16, encoded surrogates and other bytes are no UTF-8", () => {
  const text = AROUND('"x"');
  const lone = Buffer.from(text.replace("x", "\ue000")).map((byte, at, all) => (byte === 0xee && all[at + 1] === 0x80 ? 0xed : byte));
  lone[lone.indexOf(0xed) + 1] = 0xa0;
  for (const bytes of [Buffer.from(text, "utf16le"), Buffer.from(text, "utf16le").swap16(), lone, Buffer.from(text.replace("x", "\xff"), "latin1")]) {
    assert.equal(codeOf(() => decodeManifest(bytes, limitsWith())), "JSON_ENCODING");
  }
});

test("a text is refused where it is no JSON, whatever else is wrong before", () => {
  assert.equal(codeOf(() => decoded('{"a":1,"a":1.0,')), "JSON_SYNTAX");
});

test("limits count as the specification says", () => {
  const counts = [
    [{ nodes: 5 }, '{"dict":[{"tuple":[1,2]},3]}', null],
    [{ nodes: 4 }, '{"dict":[{"tuple":[1,2]},3]}', "LIMIT_NODES"],
    [{ nodes: 3 }, '{"record":["label","a",null]}', null],
    [{ key_bytes: 2 }, '{"symbol":"σ"}', null],
    [{ key_bytes: 1 }, '{"symbol":"σ"}', "LIMIT_KEY"],
    [{ key_bytes: 1 }, '{"record":["ab"]}', "LIMIT_KEY"],
    [{ key_bytes: 1 }, '{"dict":[{"bytes":"AAA="},1]}', "LIMIT_KEY"],
    [{ string_bytes: 1 }, '"σ"', "LIMIT_STRING"],
    [{ string_bytes: 1 }, '{"bytes":"AAA="}', "LIMIT_STRING"],
    [{ integer_digits: 16 }, '{"int":"-ffffffffffffffff"}', null],
    [{ integer_digits: 15 }, '{"int":"-ffffffffffffffff"}', "LIMIT_INTEGER"],
  ];
  for (const [limits, node, code] of counts) assert.equal(codeOf(() => decoded(AROUND(node), limits)), code, node);
});

test("canonical texts are what the writer of JSON makes of their values", () => {
  for (const text of Object.values(ACCEPTED)) assert.equal(canonicalText(parseCanonical(Buffer.from(text), "")), text);
});

test("metadata of other programs may have white space, numbers and lone surrogates", () => {
  const value = parseLoosely(Buffer.from(' { "a" : [ 1.5 , "\\ud800" ] } '), "");
  assert.equal(value.get("a")[0].text, "1.5");
  assert.equal(codeOf(() => parseLoosely(Buffer.from('{"a":1,"a":2}'), "")), "JSON_DUPLICATE_KEY");
});

test("info texts", () => {
  const refused = {
    [INFO.replace("2026-01-02T", "2026-01-02 ")]: "INFO_FORM",
    [INFO.replace("Z", "+00:00")]: "INFO_FORM",
    [INFO.replace(',"writer":"statetree 1.0.0.dev0"', "")]: "INFO_FORM",
    [INFO.replace('"statetree 1.0.0.dev0"', "1")]: "INFO_FORM",
    [INFO.replace('{"dict":["step",7]}', '{"list":[]}')]: "INFO_FORM",
    [INFO.replace('{"dict":["step",7]}', '{"dict":7}')]: "SCHEMA_TYPE",
    [INFO.replace("7", '{"array":0}')]: "ARRAY_INDEX",
    [INFO.replace("7", "7.0")]: "JSON_NUMBER_FORM",
    "[]": "INFO_FORM",
  };
  for (const [text, code] of Object.entries(refused)) assert.equal(codeOf(() => decodeInfo(Buffer.from(text), limitsWith())), code, text);
  assert.equal(decodeInfo(Buffer.from(INFO), limitsWith()).user.get("step"), 7n);
});
