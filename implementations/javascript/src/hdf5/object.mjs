/** Object headers: the messages that say what an object of an HDF5 file is. */

import { broken, checkedAt, Fields, fieldsAt } from "./bytes.mjs";

/** Types of messages. */
export const MESSAGE = {
  dataspace: 0x01, linkInfo: 0x02, datatype: 0x03, link: 0x06, external: 0x07, layout: 0x08, filters: 0x0b, attribute: 0x0c,
  continuation: 0x10, symbolTable: 0x11, attributeInfo: 0x15, references: 0x16,
};

const SHARED = 2;
const OLD_PREFIX = 16;
const MOST_BLOCKS = 4096;

/** An object: its messages as {type, shared, fields}, and how many links name it. */
export class ObjectHeader {
  constructor(file, address) {
    this.address = address;
    this.messages = [];
    const version = fieldsAt(file, address, 6, "an object header").bytes;
    if (version.toString("latin1", 0, 4) === "OHDR" && version[4] === 2) this.readNew(file, version[5]);
    else if (version[0] === 1) this.readOld(file);
    else broken("an object header");
  }

  /** The fields of the first message of a type, or null. */
  find(type) {
    const found = this.messages.find((message) => message.type === type);
    if (found === undefined) return null;
    // Messages that objects share lie elsewhere; only of datatypes is that a thing of its own ([H-7]), which its reader asks for first.
    if (found.shared) broken("an object header without shared messages");
    return new Fields(found.bytes, "an object header");
  }

  has(type) {
    return this.messages.some((message) => message.type === type);
  }

  isShared(type) {
    return this.messages.some((message) => message.type === type && message.shared);
  }

  get isGroup() {
    return this.has(MESSAGE.symbolTable) || this.has(MESSAGE.linkInfo);
  }

  get isDataset() {
    return this.has(MESSAGE.dataspace) && this.has(MESSAGE.layout);
  }

  readOld(file) {
    const prefix = fieldsAt(file, this.address, OLD_PREFIX, "an object header").skip(4);
    this.links = prefix.number(4);
    const size = prefix.number(4);
    const open = (address, length) => fieldsAt(file, address, length, "an object header");
    this.readBlocks(open, [this.address + OLD_PREFIX, size], 8, (fields) => {
      const [type, length] = fields.numbers(2, 2);
      const flags = fields.number(1);
      return { type, flags, bytes: fields.skip(3).take(length) };
    });
  }

  readNew(file, flags) {
    const prefix = 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
    const width = 2 ** (flags & 3);
    const start = prefix + width;
    const size = fieldsAt(file, this.address, start, "an object header").skip(prefix).number(width);
    const open = (address, length) => {
      if (address === this.address) return checkedAt(file, address, start + size, "an object header").skip(start);
      return checkedAt(file, address, length - 4, "an object header").expect("OCHK");
    };
    this.readBlocks(open, [this.address, size], flags & 4 ? 6 : 4, (fields) => {
      const type = fields.number(1);
      const length = fields.number(2);
      const own = fields.number(1);
      if (flags & 4) fields.skip(2);
      return { type, flags: own, bytes: fields.take(length) };
    });
    this.links = this.find(MESSAGE.references)?.skip(1).number(4) ?? 1;
  }

  /** Reads all messages of a block and of those that continue it; what is shorter than the head of a message is a gap. */
  readBlocks(open, first, head, next) {
    const blocks = [first];
    for (let at = 0; at < blocks.length; at++) {
      if (at === MOST_BLOCKS) broken("an object header");
      const fields = open(...blocks[at]);
      while (fields.left >= head) {
        const { type, flags, bytes } = next(fields);
        if (type === MESSAGE.continuation) blocks.push(new Fields(bytes, "an object header").numbers(2, 8));
        else this.messages.push({ type, shared: (flags & SHARED) !== 0, bytes });
      }
    }
  }
}
