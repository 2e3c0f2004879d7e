/** All access to the file system: reading without following, writing all or nothing ([C-4], [L-2], [S-2]). */

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { refuse } from "./errors.mjs";

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW, O_WRONLY, O_CREAT, O_EXCL } = fs.constants;
const PIECE = 4_194_304;
const ONE_READ = 2 ** 30;

/** The end of the names of temporary files ([Z-3]). */
export const TEMPORARY = ".statetree-tmp";

/** What `act` returns; an error of the system becomes a refusal. */
export function guarded(path, act) {
  try {
    return act();
  } catch (error) {
    if (error.syscall === undefined) throw error;
    const code = error.code === "ENOENT" ? "NOT_FOUND" : "IO";
    return refuse(code, "a file that can be used", error.code, { place: path });
  }
}

/** `dir`, `file`, `link`, `special`, or null if there is nothing; links are not followed. */
export function typeOf(path) {
  return typeOfStat(guarded(path, () => missingIsNull(() => fs.lstatSync(path))));
}

/** The same of what a link points to. */
export const typeBehindLinks = (path) => typeOfStat(guarded(path, () => missingIsNull(() => fs.statSync(path))));

function missingIsNull(look) {
  try {
    return look();
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  }
}

function typeOfStat(stat) {
  if (stat === null) return null;
  if (stat.isDirectory()) return "dir";
  if (stat.isFile()) return "file";
  return stat.isSymbolicLink() ? "link" : "special";
}

export const sizeOfFile = (path) => guarded(path, () => fs.lstatSync(path).size);

export const namesIn = (path) => guarded(path, () => fs.readdirSync(path).sort());

/** A run of bytes of an open file, as if it were the whole file. */
export class Bytes {
  constructor(fd, start, size, place) {
    this.fd = fd;
    this.start = start;
    this.size = size;
    this.place = place;
  }

  /** The bytes from `offset` on, `length` of them, which the caller has held against `size`. */
  read(offset = 0, length = this.size - offset) {
    const buffer = Buffer.allocUnsafeSlow(length);
    for (let at = 0; at < length; ) {
      const wanted = Math.min(length - at, ONE_READ);
      const count = guarded(this.place, () => fs.readSync(this.fd, buffer, at, wanted, this.start + offset + at));
      if (count === 0) refuse("CONTAINER_TRUNCATED", "all bytes of the file", "its end", { place: this.place });
      at += count;
    }
    return buffer;
  }

  /** True if `length` bytes at `offset` are in the file. */
  holds(offset, length) {
    return offset >= 0 && offset + length <= this.size;
  }

  *pieces(offset = 0, length = this.size - offset) {
    for (let at = 0; at < length; at += PIECE) yield this.read(offset + at, Math.min(PIECE, length - at));
  }

  part(offset, length, place) {
    return new Bytes(this.fd, this.start + offset, length, place);
  }

  close() {
    fs.closeSync(this.fd);
  }
}

/** Opens a regular file; `follow` says whether the path itself may be a link. */
export function openFile(path, place, follow = false) {
  const flags = O_RDONLY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW);
  const fd = guarded(place, () => fs.openSync(path, flags));
  const stat = fs.fstatSync(fd);
  if (stat.isFile()) return new Bytes(fd, 0, stat.size, place);
  fs.closeSync(fd);
  return refuse("FS_SPECIAL", "a regular file", "another", { place });
}

/** Where a writer puts bytes, one run after another. */
export class Sink {
  constructor(fd) {
    this.fd = fd;
    this.position = 0;
  }

  write(bytes) {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.fd, bytes, at, Math.min(bytes.length - at, ONE_READ));
    this.position += bytes.length;
  }
}

/** Makes a new file at a path where nothing is. */
export function createFile(path, durable, fill) {
  guarded(path, () => {
    const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL, 0o666);
    try {
      fill(new Sink(fd));
      if (durable) fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  });
}

/** Puts a new file in the place of whatever file is there, in one step ([C-4]). */
export function replaceFile(path, durable, fill) {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString("hex")}${TEMPORARY}`);
  try {
    createFile(temporary, durable, fill);
    guarded(path, () => fs.renameSync(temporary, path));
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  if (durable) syncFolder(dirname(path));
}

export const createFolder = (path) => guarded(path, () => fs.mkdirSync(path));

export const removeFolder = (path) => fs.rmSync(path, { recursive: true, force: true });

export function removeIfEmpty(path) {
  try {
    fs.rmdirSync(path);
  } catch (error) {
    if (error.code !== "ENOTEMPTY") throw error;
  }
}

export function syncFolder(path) {
  guarded(path, () => {
    const fd = fs.openSync(path, O_RDONLY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  });
}

export const openFolder = (path) => guarded(path, () => fs.openSync(path, O_RDONLY));

export const closeFolder = (fd) => fs.closeSync(fd);
