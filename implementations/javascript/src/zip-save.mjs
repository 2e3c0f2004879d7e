/** Zip files of stored entries as a writer makes them, each aligned to 64 bytes ([Z-8]); ZIP64 where the numbers ask for it. */

import { crc32 } from "./compression.mjs";
import { refuse } from "./errors.mjs";

const ALIGNED = 64;
const [VERSION, VERSION_64, MADE_BY] = [20, 45, 0x0314];
const FILE_MODE = 0o100644;
const [WIDE_16, WIDE_32] = [0xffff, 0xffffffff];
const [LOCAL_SIZE, EXTRA_HEAD] = [30, 4];
const [WIDE_FIELD, PADDING_FIELD] = [1, 0xd935];
/** 1980-01-01, the first date that there is: the bytes are the tree's and tell no time. */
const DATE = 0x21;

/** The bytes of numbers, each as [bytes, number]. */
function numbers(...fields) {
  return Buffer.concat(fields.map(([size, number]) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(number));
    return bytes.subarray(0, size);
  }));
}

export class ZipWriter {
  constructor(sink) {
    this.sink = sink;
    this.directory = [];
  }

  add(name, bytes) {
    const size = bytes.length;
    if (size >= WIDE_32) refuse("LIMIT_BYTES", `entries below ${WIDE_32} bytes`, `${size}`, { place: name });
    const text = Buffer.from(name);
    const offset = this.sink.position;
    const fields = numbers([2, 0], [2, 0], [2, 0], [2, DATE], [4, crc32([bytes])], [4, size], [4, size], [2, text.length]);
    const padding = -(offset + LOCAL_SIZE + text.length + EXTRA_HEAD) & (ALIGNED - 1);
    const extra = numbers([2, PADDING_FIELD], [2, padding]);
    this.sink.write(Buffer.concat([numbers([4, 0x04034b50], [2, VERSION]), fields, numbers([2, EXTRA_HEAD + padding]), text, extra, Buffer.alloc(padding)]));
    this.sink.write(bytes);
    this.directory.push(central(text, fields, offset));
  }

  end() {
    const start = this.sink.position;
    this.sink.write(Buffer.concat(this.directory));
    const [count, size] = [this.directory.length, this.sink.position - start];
    if (count >= WIDE_16 || start + size >= WIDE_32) this.wideEnd(count, size, start);
    const short = [Math.min(count, WIDE_16), Math.min(size, WIDE_32), Math.min(start, WIDE_32)];
    this.sink.write(numbers([4, 0x06054b50], [4, 0], [2, short[0]], [2, short[0]], [4, short[1]], [4, short[2]], [2, 0]));
  }

  wideEnd(count, size, start) {
    const at = this.sink.position;
    this.sink.write(numbers([4, 0x06064b50], [8, 44], [2, MADE_BY], [2, VERSION_64], [8, 0], [8, count], [8, count], [8, size], [8, start]));
    this.sink.write(numbers([4, 0x07064b50], [4, 0], [8, at], [4, 1]));
  }
}

/** The entry of the directory; an offset of more than 32 bits stands in a field of its own. */
function central(text, fields, offset) {
  const isWide = offset >= WIDE_32;
  const extra = isWide ? numbers([2, WIDE_FIELD], [2, 8], [8, offset]) : Buffer.alloc(0);
  const head = numbers([4, 0x02014b50], [2, MADE_BY], [2, isWide ? VERSION_64 : VERSION]);
  const tail = numbers([2, extra.length], [2, 0], [2, 0], [2, 0], [2, 0], [2, FILE_MODE], [4, Math.min(offset, WIDE_32)]);
  return Buffer.concat([head, fields, tail, text, extra]);
}
