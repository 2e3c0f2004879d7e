/** Zip files with stored entries: framing, names and what reaches out of them ([Z-8], [Z-11]). */

import { crc32 } from "./compression.mjs";
import { refuse, shown } from "./errors.mjs";

const [LOCAL, CENTRAL, END, END64, LOCATOR, DESCRIPTOR] = [0x04034b50, 0x02014b50, 0x06054b50, 0x06064b50, 0x07064b50, 0x08074b50];
const [LOCAL_SIZE, CENTRAL_SIZE, END_SIZE, END64_SIZE, LOCATOR_SIZE] = [30, 46, 22, 56, 20];
const MAX_COMMENT = 0xffff;
const [WIDE, WIDE_COUNT, WIDE_FIELD] = [0xffffffff, 0xffff, 1];
const ENCRYPTED = 0x2041;
const HAS_DESCRIPTOR = 8;
const MAX_NAME = 0xffff;
const LONGEST_DESCRIPTOR = 24;
const [MODE_KIND, LINK, FOLDER, FILE] = [0xf000, 0xa000, 0x4000, 0x8000];

const form = (expected, found, place) => refuse("ZIP_FORM", expected, found, { place });

/** Whether the file begins or ends as a zip file does. */
export function looksLikeZip(file) {
  return (file.holds(0, 4) && file.read(0, 4).readUInt32LE(0) === LOCAL) || endRecord(file) !== null;
}

/** The name in the local header at the first byte, or null. */
export function firstName(file) {
  const header = file.read(0, Math.min(file.size, LOCAL_SIZE + MAX_NAME));
  if (header.length < LOCAL_SIZE || header.readUInt32LE(0) !== LOCAL) return null;
  return header.toString("latin1", LOCAL_SIZE, LOCAL_SIZE + header.readUInt16LE(26));
}

export class Zip {
  /** Reads the directory. Nothing is judged but what it takes to find the entries. */
  constructor(file) {
    this.file = file;
    this.end = findEnd(file);
    this.entries = readDirectory(file, this.end);
    this.byName = new Map(this.entries.map((entry) => [entry.name, entry]));
  }

  /** The name of the entry that lies first in the file, or null. */
  firstName() {
    return this.entries.reduce((first, entry) => (first === null || entry.offset < first.offset ? entry : first), null)?.name ?? null;
  }

  /** The bytes of an entry of at most `limit` bytes before anything was judged, or null. */
  peek(name, limit) {
    const entry = this.byName.get(name);
    if (entry === undefined || entry.size > limit || !this.file.holds(entry.offset, LOCAL_SIZE)) return null;
    const header = this.file.read(entry.offset, LOCAL_SIZE);
    const start = entry.offset + LOCAL_SIZE + header.readUInt16LE(26) + header.readUInt16LE(28);
    return this.file.holds(start, entry.size) ? this.file.read(start, entry.size) : null;
  }

  /** Judges framing, names and kinds of all entries, and finds their bytes. */
  judge() {
    judgeEnd(this.file, this.end);
    judgeNames(this.entries);
    this.entries.forEach(judgeKind);
    const inOrder = [...this.entries].sort((a, b) => a.offset - b.offset);
    if (inOrder.length === 0 || inOrder[0].offset !== 0) refuse("POLYGLOT", "an entry at the first byte", "other bytes", { place: "zip" });
    inOrder.forEach((entry, at) => locate(this.file, entry, inOrder[at + 1]?.offset ?? this.end.directory));
    this.inOrder = inOrder;
  }

  /** The bytes of an entry, or null. */
  open(name) {
    const entry = this.byName.get(name);
    return entry === undefined ? null : this.file.part(entry.start, entry.size, name);
  }

  /** What a validator adds for each entry: its CRC-32, its name, and nothing behind it but a data descriptor. */
  validate() {
    this.inOrder.forEach((entry, at) => {
      const { name } = entry;
      const components = name.replace(/\/$/, "").split("/");
      if (components.includes("")) refuse("ZIP_PATH", "a name without empty components", shown(name), { place: "zip" });
      if (name.endsWith("/") && entry.size > 0) form("a folder entry without bytes", `${entry.size}`, name);
      if (crc32(this.open(name).pieces()) !== entry.crc) refuse("ZIP_CRC", "the recorded CRC-32", "another", { place: name });
      judgeGap(this.file, entry, this.inOrder[at + 1]?.offset ?? this.end.directory);
    });
  }
}

/** The end record where it must be, or null. */
function endRecord(file) {
  if (!file.holds(file.size - END_SIZE, END_SIZE)) return null;
  const record = file.read(file.size - END_SIZE, END_SIZE);
  return record.readUInt32LE(0) === END && record.readUInt16LE(20) === 0 ? record : null;
}

function findEnd(file) {
  const record = endRecord(file);
  if (record === null) {
    const tail = file.read(Math.max(0, file.size - END_SIZE - MAX_COMMENT));
    const elsewhere = tail.includes(Buffer.from("PK\x05\x06", "latin1"));
    const code = elsewhere ? "POLYGLOT" : "CONTAINER_TRUNCATED";
    refuse(code, "an end record without comment at the last byte", elsewhere ? "one elsewhere" : "none", { place: "zip" });
  }
  const numbers = [4, 6, 8, 10].map((at) => record.readUInt16LE(at));
  const [size, directory] = [12, 16].map((at) => record.readUInt32LE(at));
  const start = file.size - END_SIZE;
  if (![...numbers, size, directory].some((field) => field === WIDE || field === WIDE_COUNT)) {
    return { disks: numbers.slice(0, 2), counts: numbers.slice(2), size, directory, start };
  }
  return findEnd64(file, start) ?? { disks: numbers.slice(0, 2), counts: numbers.slice(2), size, directory, start };
}

function findEnd64(file, locatorEnd) {
  const start = locatorEnd - LOCATOR_SIZE - END64_SIZE;
  if (!file.holds(start, END64_SIZE + LOCATOR_SIZE)) return null;
  const records = file.read(start, END64_SIZE + LOCATOR_SIZE);
  if (records.readUInt32LE(END64_SIZE) !== LOCATOR) return null;
  if (records.readUInt32LE(0) !== END64 || records.readBigUInt64LE(END64_SIZE + 8) !== BigInt(start)) {
    refuse("POLYGLOT", "the ZIP64 end record directly before its locator", "other bytes", { place: "zip" });
  }
  const numbers = [24, 32, 40, 48].map((at) => Number(records.readBigUInt64LE(at)));
  const disks = [16, 20].map((at) => records.readUInt32LE(at));
  return { disks, counts: numbers.slice(0, 2), size: numbers[2], directory: numbers[3], start };
}

function judgeEnd(file, { disks, counts, size, directory, start }) {
  if (disks.some((disk) => disk !== 0) || counts[0] !== counts[1]) form("one disk", "more", "zip");
  if (directory + size !== start) refuse("POLYGLOT", "the directory directly before the end records", "other bytes", { place: "zip" });
}

/** The entries of the directory, read where it must be: directly before the end records. */
function readDirectory(file, { counts, size, start }) {
  if (size > start) refuse("POLYGLOT", "the directory directly before the end records", "none", { place: "zip" });
  const bytes = file.read(start - size, size);
  const entries = [];
  for (let at = 0; at < size; at = entries.at(-1).next) entries.push(readEntry(bytes, at));
  if (entries.length !== counts[1]) form(`${counts[1]} entries`, `${entries.length}`, "zip");
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
  const mode = bytes.readUInt16LE(at + 40);
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

/** Holds the local header against the directory and sets `start`, where the bytes begin, and `end`. */
function locate(file, entry, limit) {
  const { offset, name, rawName, flags, size } = entry;
  if (offset + LOCAL_SIZE > limit) form("entries that do not overlap", "others", name);
  const header = file.read(offset, LOCAL_SIZE);
  const [nameLength, extraLength] = [26, 28].map((at) => header.readUInt16LE(at));
  entry.start = offset + LOCAL_SIZE + nameLength + extraLength;
  entry.end = entry.start + size;
  if (entry.end > limit) form("entries that do not overlap", "others", name);
  const rest = file.read(offset + LOCAL_SIZE, nameLength + extraLength);
  const sizes = widened(rest.subarray(nameLength), [22, 18].map((at) => header.readUInt32LE(at)));
  const open = (flags & HAS_DESCRIPTOR) !== 0 && sizes.every((found) => found === 0);
  const agrees = header.readUInt32LE(0) === LOCAL && rest.subarray(0, nameLength).equals(rawName) && header.readUInt16LE(8) === 0;
  if (!agrees || !(open || sizes.every((found) => found === size))) form("a local header as the directory says", "another", name);
  if ((header.readUInt16LE(6) ^ flags) & ENCRYPTED) refuse("ZIP_ENCRYPTED", "an entry that is not encrypted", "one that is", { place: name });
}

/** Between an entry and the next there is nothing, or its data descriptor. */
function judgeGap(file, { name, flags, crc, size, end }, next) {
  const gap = next - end;
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
