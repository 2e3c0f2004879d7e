/** Groups: their links, in either of three forms, none of which is followed here. */

import { Fields, fieldsAt, NOWHERE } from "./bytes.mjs";
import { FractalHeap, localHeap } from "./heap.mjs";
import { MESSAGE } from "./object.mjs";
import { newTree, oldTree } from "./tree.mjs";
import { refuse } from "../errors.mjs";

const GROUP_NODE = 0;
const NAME_INDEX = 5;
const SOFT_IN_CACHE = 2;
const ENTRY = 40;

const tooMany = () => refuse("CONTAINER_TRUNCATED", "a group that the file can hold", "more links", { place: "HDF5" });

/** The links of a group: name -> the address of the object, or null for a link that is not hard. */
export function linksOf(file, header) {
  const links = header.has(MESSAGE.symbolTable) ? symbolTable(file, header.find(MESSAGE.symbolTable)) : linkMessages(file, header);
  return new Map(links);
}

function* symbolTable(file, message) {
  const [tree, heap] = message.numbers(2, 8);
  const nameAt = localHeap(file, heap);
  for (const [, address] of oldTree(file, tree, GROUP_NODE, 8, tooMany)) {
    const node = fieldsAt(file, address, 8, "a symbol table").expect("SNOD").skip(2);
    const count = node.number(2);
    const entries = fieldsAt(file, address + 8, count * ENTRY, "a symbol table");
    for (let number = 0; number < count; number++) {
      const entry = new Fields(entries.take(ENTRY), "a symbol table");
      const [name, object] = entry.numbers(2, 8);
      yield [nameAt(name), entry.number(4) === SOFT_IN_CACHE ? null : object];
    }
  }
}

function* linkMessages(file, header) {
  for (const { type, bytes } of header.messages) {
    if (type === MESSAGE.link) yield link(new Fields(bytes, "a link"));
  }
  for (const message of denseMessages(file, header.find(MESSAGE.linkInfo), 8, NAME_INDEX, 4)) yield link(message);
}

function link(fields) {
  const flags = fields.skip(1).number(1);
  const hard = (flags & 8) === 0 || fields.number(1) === 0;
  if (flags & 4) fields.skip(8);
  if (flags & 16) fields.skip(1);
  const name = fields.take(fields.number(2 ** (flags & 3))).toString("utf8");
  return [name, hard ? fields.address() : null];
}

/**
 * Messages that are many, and lie in a fractal heap with an index by name. `info` says where; its count of creation takes
 * `countSize` bytes, and the id of the heap stands in a record of the index behind `before` bytes.
 */
export function* denseMessages(file, info, countSize, recordType, before) {
  if (info === null) return;
  const flags = info.skip(1).number(1);
  if (flags & 1) info.skip(countSize);
  const [heapAddress, tree] = info.numbers(2, 8);
  if (heapAddress === NOWHERE) return;
  const heap = new FractalHeap(file, heapAddress);
  for (const record of newTree(file, tree, recordType, tooMany)) yield heap.object(record.skip(before));
}
