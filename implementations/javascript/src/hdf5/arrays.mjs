/** Fixed and extensible arrays: indexes of chunks by their number. */

import { checkedAt, NOWHERE } from "./bytes.mjs";

const FIXED_HEADER = 24;
const EXTENSIBLE_HEADER = 68;
const PREFIX = 14;
const CHECKSUM = 4;
const NOTHING = { address: NOWHERE };

/** What finds the entry of a chunk by its number in the array at an address. */
export const chunkArray = (file, index, address, isFiltered) => (index === "fixed array" ? fixedArray : extensibleArray)(new Blocks(file, isFiltered), address);

/** Reads blocks, each of them once, and entries in them. */
class Blocks {
  constructor(file, isFiltered) {
    Object.assign(this, { file, isFiltered, read: new Map() });
  }

  /** The fields of a block from byte `skipped` on. */
  open(address, signature, size, skipped) {
    if (!this.read.has(address)) {
      const fields = checkedAt(this.file, address, size, "an index of chunks");
      this.read.set(address, signature === "" ? fields : fields.expect(signature));
    }
    const fields = this.read.get(address);
    fields.at = skipped;
    return fields;
  }

  entry(fields, width) {
    const address = fields.address();
    return this.isFiltered ? { address, size: fields.number(width - 12), mask: fields.number(4) } : { address };
  }

  /**
   * Entry `number` of a block of `count` entries behind `head` bytes. Where these are more than a page, they stand in pages behind
   * the block, of which a bit says whether there is one.
   */
  entryOf(address, signature, { head, count, width, page }, number, hasPage) {
    if (count <= page) return this.entry(this.open(address, signature, head + count * width, head + number * width), width);
    const [which, within] = [Math.floor(number / page), number % page];
    if (!hasPage(which)) return NOTHING;
    const size = Math.min(page, count - which * page) * width;
    return this.entry(this.open(address + head + CHECKSUM + which * (page * width + CHECKSUM), "", size, within * width), width);
  }
}

/** Whether a bit is set; the first is the highest of the first byte. */
const bitOf = (bytes, at) => (bytes[at >> 3] & (0x80 >> (at & 7))) !== 0;

function fixedArray(blocks, address) {
  const header = checkedAt(blocks.file, address, FIXED_HEADER, "an index of chunks").expect("FAHD").skip(2);
  const [width, pageBits] = header.numbers(2, 1);
  const [count, block] = header.numbers(2, 8);
  if (block === NOWHERE) return () => NOTHING;
  const page = 2 ** pageBits;
  const bitmap = count > page ? Math.ceil(Math.ceil(count / page) / 8) : 0;
  const head = PREFIX + bitmap;
  const hasPage = (which) => bitOf(blocks.open(block, "FADB", head, PREFIX).take(bitmap), which);
  return (number) => blocks.entryOf(block, "FADB", { head, count, width, page }, number, hasPage);
}

function extensibleArray(blocks, address) {
  const header = checkedAt(blocks.file, address, EXTENSIBLE_HEADER, "an index of chunks").expect("EAHD").skip(2);
  const [width, bits, own, least, pointers, pageBits] = header.numbers(6, 1);
  const index = header.skip(48).address();
  if (index === NOWHERE) return () => NOTHING;
  const shape = { width, page: 2 ** pageBits, prefix: PREFIX + Math.ceil(bits / 8) };
  const direct = 2 * Math.log2(pointers);
  const directBlocks = 2 * (pointers - 1);
  const groups = groupsOf(1 + bits - Math.log2(least), least);
  const addressesAt = PREFIX + own * width;
  const openIndex = (skipped) => blocks.open(index, "EAIB", addressesAt + 8 * (directBlocks + groups.length - direct), skipped);

  return (number) => {
    if (number < own) return blocks.entry(openIndex(PREFIX + number * width), width);
    const at = groups.findLastIndex(({ start }) => start <= number - own);
    const group = groups[at];
    const rest = number - own - group.start;
    const which = Math.floor(rest / group.count);
    if (at < direct) {
      const block = openIndex(addressesAt + 8 * (group.firstBlock + which)).address();
      return dataBlock(blocks, shape, group, block, rest % group.count, () => true);
    }
    const parent = openIndex(addressesAt + 8 * (directBlocks + at - direct)).address();
    return parent === NOWHERE ? NOTHING : below(blocks, shape, group, parent, which, rest % group.count);
  };
}

/** Groups of data blocks: how many blocks of how many entries, and where they begin, counted in entries and in blocks. */
function groupsOf(count, least) {
  const groups = [];
  let [start, firstBlock] = [0, 0];
  for (let at = 0; at < count; at++) {
    const group = { start, firstBlock, blocks: 2 ** (at >> 1), count: least * 2 ** ((at + 1) >> 1) };
    groups.push(group);
    start += group.blocks * group.count;
    firstBlock += group.blocks;
  }
  return groups;
}

/** Entry `number` of data block `which` below a secondary block. */
function below(blocks, shape, group, parent, which, number) {
  const pages = group.count > shape.page ? Math.ceil(group.count / shape.page) : 0;
  const bitmap = Math.ceil(pages / 8);
  const open = (skipped) => blocks.open(parent, "EASB", shape.prefix + group.blocks * (bitmap + 8), skipped);
  const block = open(shape.prefix + group.blocks * bitmap + 8 * which).address();
  const hasPage = (page) => bitOf(open(shape.prefix + which * bitmap).take(bitmap), page);
  return dataBlock(blocks, shape, group, block, number, hasPage);
}

function dataBlock(blocks, { width, page, prefix }, { count }, block, number, hasPage) {
  return block === NOWHERE ? NOTHING : blocks.entryOf(block, "EADB", { head: prefix, count, width, page }, number, hasPage);
}
