/** A Zarr hierarchy as files by name, in a folder or in a zip file; nothing leads out of it ([Z-2], [Z-8], [Z-9]). */

import { join } from "node:path";
import { refuse } from "./errors.mjs";
import { namesIn, openFile, sizeOfFile, TEMPORARY, typeOf } from "./files.mjs";
import { Zip } from "./zip.mjs";

export const GENERATION = /^[0-9a-f]{16}$/;

/** Where the texts, arrays and packs of a generation are; nothing else is in it. */
export const PARTS = ["arrays", "blocks", "info", "manifest", "packs"];

export class FolderStore {
  constructor(root) {
    this.root = root;
    this.isZip = false;
    this.folders = new Map();
  }

  /** `dir`, `file` or null; links and special files are refused. */
  typeOf(name) {
    const type = typeOf(join(this.root, name));
    if (type === "link") refuse("FS_LINK", "a file or folder", "a link", { place: name });
    if (type === "special") refuse("FS_SPECIAL", "a file or folder", "a special file", { place: name });
    return type;
  }

  isFolder(name) {
    if (!this.folders.has(name)) this.folders.set(name, this.typeOf(name) === "dir");
    return this.folders.get(name);
  }

  /** The bytes of a file, to be closed, or null. Every folder on the way is looked at, so that none is a link. */
  open(name) {
    const steps = name.split("/");
    const there = steps.slice(0, -1).every((_, at) => this.isFolder(steps.slice(0, at + 1).join("/")));
    if (!there || this.typeOf(name) !== "file") return null;
    return openFile(join(this.root, name), name);
  }

  read(name, judge) {
    const bytes = this.open(name);
    if (bytes === null) return null;
    try {
      judge(bytes.size);
      return bytes.read();
    } finally {
      bytes.close();
    }
  }

  hasFile(name) {
    return this.typeOf(name) === "file";
  }

  hasGeneration(name) {
    return this.isFolder(name);
  }

  sizeBelow(folder) {
    const files = this.list(folder).filter(({ type }) => type === "file");
    return files.reduce((sum, { name }) => sum + sizeOfFile(join(this.root, name)), 0);
  }

  /** All that is below a folder, as [{name, type}]. */
  list(folder) {
    return namesIn(join(this.root, folder)).flatMap((child) => {
      const name = folder === "" ? child : `${folder}/${child}`;
      const type = this.typeOf(name);
      return type === "dir" ? [{ name, type }, ...this.list(name)] : [{ name, type }];
    });
  }

  /** What stands in the root. */
  top() {
    return namesIn(this.root);
  }

  close() {}
}

export class ZipStore {
  constructor(file) {
    this.file = file;
    this.isZip = true;
    this.zip = new Zip(file);
  }

  open(name) {
    const bytes = this.zip.open(name);
    return bytes === null ? null : Object.assign(bytes, { close: () => {} });
  }

  read(name, judge) {
    const bytes = this.zip.open(name);
    if (bytes === null) return null;
    judge(bytes.size);
    return bytes.read();
  }

  hasFile(name) {
    return this.zip.byName.has(name);
  }

  hasGeneration(name) {
    return this.hasFile(`${name}/zarr.json`);
  }

  sizeBelow() {
    return this.file.size;
  }

  list(folder) {
    return this.zip.entries
      .filter(({ name }) => name.startsWith(`${folder}/`))
      .map(({ name }) => (name.endsWith("/") ? { name: name.slice(0, -1), type: "dir" } : { name, type: "file" }));
  }

  top() {
    return [...new Set(this.zip.entries.map(({ name }) => name.split("/")[0]))];
  }

  close() {
    this.file.close();
  }
}

/** True for a folder that is a generation, or could be one that was begun: empty, or `zarr.json` and nothing but parts ([Z-3]). */
export function isGeneration(root, name) {
  const path = join(root, name);
  if (!GENERATION.test(name) || typeOf(path) !== "dir") return false;
  const names = namesIn(path);
  return names.length === 0 || (names.includes("zarr.json") && names.every((child) => child === "zarr.json" || PARTS.includes(child)));
}

export const isTemporary = (name) => name.endsWith(TEMPORARY);
