/** Zip files with stored entries: framing, names and what reaches out of them ([Z-8], [Z-11]). */

import { crc32 } from "./compression.mjs";
import { refuse, Refusal, shown } from "./errors.mjs";

const [LOCAL, CENTRAL, END, END64, LOCATOR, DESCRIPTOR] = [0x04034b50, 0x02014b50, 0x06054b50, 0x06064b50, 0x07064b50, 0x08074b50];
const [LOCAL_SIZE, CENTRAL_SIZE, END_SIZE, END64_SIZE, LOCATOR_SIZE] = [30, 46, 22, 56, 20];
const END_SIGNATURE = Buffer.from("PK\x05\x06", "latin1");
const MAX_COMMENT = 0xffff;
const [WIDE, WIDE_FIELD] = [0xffffffff, 1];
const ENCRYPTED = 0x2041;
const HAS_DESCRIPTOR = 8;
const MAX_NAME = 0xffff;
const LONGEST_DESCRIPTOR = 24;
const [MODE_KIND, LINK, FOLDER, FILE] = [0xf000, 0xa000, 0x4000, 0x8000];

const form = (expected, found, place) => refuse("ZIP_FORM", expected, found, { place });

/** The name in the local header at the first byte, or null. */
function firstName(file) {
  const header = file.read(0, Math.min(file.size, LOCAL_SIZE + MAX_NAME));
  if (header.length < LOCAL_SIZE || header.readUInt32LE(0) !== LOCAL) return null;
  return header.toString("latin1", LOCAL_SIZE, LOCAL_SIZE + header.readUInt16LE(26));
}

/**
 * What tells a zip file before anything is judged: the name of its `first` entry, and a function that gives the bytes of an entry;
 * null if it is none. Bytes before the first entry, a comment and bytes behind the end record do not hide it.
 */
export function glance(file) {
  const first = firstName(file);
  const entries = glanceDirectory(file);
  if (first === null && entries.length === 0) return null;
  const lowest = entries.reduce((low, entry) => (low === null || entry.offset < low.offset ? entry : low), null);
  const bytesOf = (name, limit) => {
    const entry = entries.find((each) => each.name === name && each.size <= limit);
    return entry === undefined ? null : glanceBytes(file, entry);
  };
  return { first: first ?? lowest.name, bytesOf };
}

function glanceDirectory(file) {
  const tailAt = Math.max(0, file.size - END_SIZE - MAX_COMMENT);
  const tail = file.read(tailAt);
  const at = tail.lastIndexOf(END_SIGNATURE);
  if (at < 0 || at + END_SIZE > tail.length) return [];
  const [count, size, directory] = [tail.readUInt16LE(at + 10), tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
  const start = tailAt + at - size;
  if (start < 0) return [];
  try {
    const entries = readDirectory(file.read(start, size), count);
    return entries.map((entry) => ({ ...entry, offset: entry.offset + start - directory }));
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

function glanceBytes(file, { offset, size }) {
  if (!file.holds(offset, LOCAL_SIZE)) return null;
  const header = file.read(offset, LOCAL_SIZE);
  const start = offset + LOCAL_SIZE + header.readUInt16LE(26) + header.readUInt16LE(28);
  return file.holds(start, size) ? file.read(start, size) : null;
}

export class Zip {
  /** Judges framing, names and kinds of all entries by the directory. Local headers are judged when entries are read. */
  constructor(file) {
    this.file = file;
    const { counts, size, directory } = findEnd(file);
    this.entries = readDirectory(file.read(directory, size), counts[1]);
    this.byName = new Map(this.entries.map((entry) => [entry.name, entry]));
    judgeNames(this.entries);
    this.entries.forEach(judgeKind);
    this.inOrder = [...this.entries].sort((a, b) => a.offset - b.offset);
    if (this.inOrder[0]?.offset !== 0) refuse("POLYGLOT", "an entry at the first byte", "other bytes", { place: "zip" });
    this.inOrder.forEach((entry, at) => {
      entry.limit = this.inOrder[at + 1]?.offset ?? directory;
      judgeRoom(entry, LOCAL_SIZE + entry.rawName.length + entry.size);
    });
  }

  /** The bytes of an entry, or null. */
  open(name) {
    const entry = this.byName.get(name);
    return entry === undefined ? null : this.file.part(locate(this.file, entry), entry.size, name);
  }

  /** What a validator adds for each entry: its CRC-32, its name, and nothing behind it but a data descriptor. */
  validate() {
    for (const entry of this.inOrder) {
      const { name, size, crc, limit } = entry;
      const components = name.replace(/\/$/, "").split("/");
      if (components.includes("")) refuse("ZIP_PATH", "a name without empty components", shown(name), { place: "zip" });
      if (name.endsWith("/") && size > 0) form("a folder entry without bytes", `${size}`, name);
      const bytes = this.open(name);
      if (crc32(bytes.pieces()) !== crc) refuse("ZIP_CRC", "the recorded CRC-32", "another", { place: name });
      judgeGap(this.file, entry, bytes.start + size, limit);
    }
  }
}

/** The number of entries, and size and offset of the directory, which lies directly before the end records. */
function findEnd(file) {
  const start = file.size - END_SIZE;
  const record = start >= 0 ? file.read(start, END_SIZE) : Buffer.alloc(END_SIZE);
  if (record.readUInt32LE(0) !== END || record.readUInt16LE(20) !== 0) noEnd(file);
  const end = findEnd64(file, start) ?? {
    start,
    disks: [4, 6].map((at) => record.readUInt16LE(at)),
    counts: [8, 10].map((at) => record.readUInt16LE(at)),
    size: record.readUInt32LE(12),
    directory: record.readUInt32LE(16),
  };
  if (end.directory + end.size !== end.start) {
    refuse("POLYGLOT", "the directory directly before the end records", "other bytes", { place: "zip" });
  }
  if (end.disks.some((disk) => disk !== 0) || end.counts[0] !== end.counts[1]) form("one disk", "more", "zip");
  return end;
}

function noEnd(file) {
  const tail = file.read(Math.max(0, file.size - END_SIZE - MAX_COMMENT));
  const elsewhere = tail.subarray(0, -END_SIZE + END_SIGNATURE.length).includes(END_SIGNATURE);
  const code = elsewhere ? "POLYGLOT" : "CONTAINER_TRUNCATED";
  refuse(code, "an end record without comment at the last byte", elsewhere ? "one elsewhere" : "none, or part of one", { place: "zip" });
}

/** What the ZIP64 end record says, if its locator lies before the end record. */
function findEnd64(file, locatorEnd) {
  const start = locatorEnd - LOCATOR_SIZE - END64_SIZE;
  if (start < 0) return null;
  const records = file.read(start, END64_SIZE + LOCATOR_SIZE);
  if (records.readUInt32LE(END64_SIZE) !== LOCATOR) return null;
  if (records.readUInt32LE(0) !== END64 || records.readBigUInt64LE(END64_SIZE + 8) !== BigInt(start)) {
    form("the ZIP64 end record directly before its locator, which says so", "other bytes", "zip");
  }
  const [here, all, size, directory] = [24, 32, 40, 48].map((at) => Number(records.readBigUInt64LE(at)));
  return { start, disks: [16, 20].map((at) => records.readUInt32LE(at)), counts: [here, all], size, directory };
}

function readDirectory(bytes, count) {
  const entries = [];
  for (let at = 0; at < bytes.length; at = entries.at(-1).next) entries.push(readEntry(bytes, at));
  if (entries.length !== count) form(`${count} entries`, `${entries.length}`, "zip");
  return entries;
}

function readEntry(bytes, at) {
  if (at + CENTRAL_SIZE > bytes.length || bytes.readUInt32LE(at) !== CENTRAL) form("an entry of the directory", "other bytes", "zip");
  const [flags, method] = [8, 10].map((field) => bytes.readUInt16LE(at + field));
  const [crc, packed, size] = [16, 20, 24].map((field) => bytes.readUInt32LE(at + field));
  const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field));
  const extraAt = at + CENTRAL_SIZE + nameLength;
  const next = extraAt + extraLength + commentLength;
  if (next > bytes.length) form("an entry inside of the directory", "one that ends behind it", "zip");
  const rawName = bytes.subarray(at + CENTRAL_SIZE, extraAt);
  const wide = widened(bytes.subarray(extraAt, extraAt + extraLength), [size, packed, bytes.readUInt32LE(at + 42)]);
  const [disk, mode] = [34, 40].map((field) => bytes.readUInt16LE(at + field));
  if (disk !== 0) form("one disk", `an entry of disk ${disk}`, "zip");
  return { name: rawName.toString("latin1"), rawName, flags, method, crc, mode, size: wide[0], packed: wide[1], offset: wide[2], next };
}

/** Fields of 32 bits, where they are all ones, from the ZIP64 field of the extra data. */
function widened(extra, fields) {
  if (!fields.includes(WIDE)) return fields;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== WIDE_FIELD) continue;
    let from = at + 4;
    return fields.map((field) => {
      if (field !== WIDE || from + 8 > extra.length) return field;
      from += 8;
      return Number(extra.readBigUInt64LE(from - 8));
    });
  }
  return fields;
}

function judgeNames(entries) {
  const seen = new Set();
  for (const { name } of entries) {
    if (seen.has(name)) refuse("ZIP_DUPLICATE", "names that differ", `${shown(name)} twice`, { place: "zip" });
    seen.add(name);
    const outside = name === "" || name.startsWith("/") || name.split("/").includes("..") || /[\\\0]/.test(name);
    if (outside) refuse("ZIP_PATH", "a relative name without .., backslash and NUL", shown(name), { place: "zip" });
  }
}

function judgeKind({ name, flags, method, mode, size, packed }) {
  if (flags & ENCRYPTED) refuse("ZIP_ENCRYPTED", "an entry that is not encrypted", "one that is", { place: name });
  const kind = mode & MODE_KIND;
  if (kind === LINK) refuse("FS_LINK", "a file", "a link", { place: name });
  if (![0, FOLDER, FILE].includes(kind)) refuse("FS_SPECIAL", "a file", "a special file", { place: name });
  if (method !== 0 || size !== packed) form("a stored entry", "a compressed one", name);
}

function judgeRoom({ name, offset, limit }, length) {
  if (offset + length > limit) form("entries that do not overlap", "others", name);
}

/** Holds the local header of an entry against the directory; returns where its bytes begin. */
function locate(file, entry) {
  const { offset, name, rawName, flags, size } = entry;
  const header = file.read(offset, LOCAL_SIZE);
  const [nameLength, extraLength] = [26, 28].map((at) => header.readUInt16LE(at));
  judgeRoom(entry, LOCAL_SIZE + nameLength + extraLength + size);
  const rest = file.read(offset + LOCAL_SIZE, nameLength + extraLength);
  const sizes = widened(rest.subarray(nameLength), [22, 18].map((at) => header.readUInt32LE(at)));
  const open = (flags & HAS_DESCRIPTOR) !== 0 && sizes.every((found) => found === 0);
  const [ownFlags, method] = [6, 8].map((at) => header.readUInt16LE(at));
  const isPlain = header.readUInt32LE(0) === LOCAL && (ownFlags & ENCRYPTED) === 0 && method === 0;
  const agrees = isPlain && rest.subarray(0, nameLength).equals(rawName);
  if (!agrees || !(open || sizes.every((found) => found === size))) form("a local header as the directory says", "another", name);
  return offset + LOCAL_SIZE + nameLength + extraLength;
}

/** Between an entry and the next there is nothing, or its data descriptor. */
function judgeGap(file, { name, flags, crc, size }, end, limit) {
  const gap = limit - end;
  if (gap === 0) return;
  const allowed = flags & HAS_DESCRIPTOR ? descriptors(crc, size) : [];
  const found = gap <= LONGEST_DESCRIPTOR ? file.read(end, gap) : null;
  if (!allowed.some((bytes) => found !== null && bytes.equals(found))) {
    form("nothing between entries but a data descriptor", `${gap} bytes`, name);
  }
}

/** The four forms of a data descriptor: with and without signature, with sizes of 4 and of 8 bytes. */
function descriptors(crc, size) {
  const number = (value, length) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes.subarray(0, length);
  };
  return [4, 8].flatMap((length) => {
    const plain = Buffer.concat([number(crc, 4), number(size, length), number(size, length)]);
    return [plain, Buffer.concat([number(DESCRIPTOR, 4), plain])];
  });
}
