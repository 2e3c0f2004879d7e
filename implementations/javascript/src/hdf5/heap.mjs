/** Heaps: the local heap with the names of an old group, and the fractal heap with the messages of newer objects. */

import { broken, bytesFor, checkedAt, Fields, fieldsAt } from "./bytes.mjs";

const LOCAL_HEADER = 32;
const FRACTAL_HEADER = 142;
const CHECKSUM = 4;

/** The names of a local heap, by their offset. */
export function localHeap(file, address) {
  const header = fieldsAt(file, address, LOCAL_HEADER, "a heap").expect("HEAP").skip(4);
  const size = header.number(8);
  const { bytes } = fieldsAt(file, header.skip(8).address(), size, "a heap");
  return (offset) => new Fields(bytes, "a heap").skip(offset).text(false);
}

/** A fractal heap without filters, as groups and attributes have it. */
export class FractalHeap {
  constructor(file, address) {
    this.file = file;
    const header = checkedAt(file, address, FRACTAL_HEADER, "a heap").expect("FRHP").skip(1);
    const [, filterSize] = header.numbers(2, 2);
    if (filterSize !== 0) broken("a heap without filters");
    this.checked = (header.number(1) & 2) !== 0;
    const largestObject = header.number(4);
    this.width = header.skip(96).number(2);
    const [firstSize, largestBlock] = header.numbers(2, 8);
    const bits = header.number(2);
    this.root = header.skip(2).address();
    this.rootRows = header.number(2);
    this.offsetSize = Math.ceil(bits / 8);
    this.lengthSize = bytesFor(Math.min(largestBlock, largestObject));
    this.firstSize = firstSize;
    this.directRows = Math.log2(largestBlock) - Math.log2(firstSize) + 2;
  }

  /** The object of an id: managed, which lies in a block, or tiny, which is the id itself. */
  object(id) {
    const kind = (id.number(1) >> 4) & 3;
    if (kind !== 0) broken("a heap of managed objects");
    const [offset, length] = [id.number(this.offsetSize), id.number(this.lengthSize)];
    const block = this.rootRows === 0 ? this.root + offset : this.locate(this.root, 0, this.rootRows, offset);
    return fieldsAt(this.file, block, length, "a heap");
  }

  rowSize(row) {
    return this.firstSize * 2 ** Math.max(0, row - 1);
  }

  /** The address of an offset below an indirect block that begins at offset `start` of the heap. */
  locate(address, start, rows, offset) {
    const prefix = 13 + this.offsetSize;
    const block = checkedAt(this.file, address, prefix + 8 * this.width * rows, "a heap").expect("FHIB").skip(prefix - 4);
    let at = start;
    for (let row = 0; row < rows; row++) {
      const size = this.rowSize(row);
      for (let column = 0; column < this.width; column++, at += size) {
        const child = block.address();
        if (offset >= at + size) continue;
        if (row < this.directRows) return child + offset - at;
        return this.locate(child, at, this.rowsOf(size), offset);
      }
    }
    return broken("a heap");
  }

  /** How many rows the indirect block has that covers `size` bytes. */
  rowsOf(size) {
    return Math.log2(size) - Math.log2(this.firstSize * this.width) + 1;
  }
}
