/** Zarr hierarchies saved all or nothing: a new generation, then the root that names it ([Z-1] to [Z-3], [Z-8]). */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { refuse, shown } from "./errors.mjs";
import {
  closeFolder, createFile, createFolder, namesIn, removeFolder, removeIfEmpty, replaceFile, syncFolder, typeBehindLinks, typeOf,
} from "./files.mjs";
import { lockFolder } from "./lock.mjs";
import { decodeRoot, ROOT, rootText } from "./zarr.mjs";
import { generationFiles, rootBytes } from "./zarr-files.mjs";
import { FolderStore, isGeneration, isTemporary } from "./zarr-store.mjs";
import { ZipWriter } from "./zip-save.mjs";

const newGeneration = () => randomBytes(8).toString("hex");

export function saveZarr(path, content, { durable, generation = newGeneration() }) {
  const isNew = typeBehindLinks(path) === null;
  if (isNew) createFolder(path);
  else judgeFolder(path);
  const folder = join(path, generation);
  createFolder(folder);
  const lock = lockFolder(folder, false);
  try {
    writeGeneration(folder, content, durable);
    commit(path, content, generation, durable);
  } catch (error) {
    removeFolder(folder);
    if (isNew) removeIfEmpty(path);
    throw error;
  } finally {
    closeFolder(lock);
  }
  removeOthers(path, generation);
}

/** A save replaces nothing but what is of this format ([Z-3]). */
function judgeFolder(path) {
  if (typeBehindLinks(path) !== "dir") refuse("USAGE", "a folder, or nothing", "a file", { place: path });
  const foreign = namesIn(path).find((name) => name !== ROOT && !isTemporary(name) && !isGeneration(path, name));
  if (foreign !== undefined) refuse("USAGE", "a folder of this format", shown(foreign), { place: path });
  if (typeOf(join(path, ROOT)) === null) return;
  const bytes = rootText(new FolderStore(path));
  if (bytes === null) refuse("USAGE", "a folder of this format", "another root zarr.json", { place: path });
}

/** Writes the files of a generation and the folders that they lie in; the folders become durable last, the innermost first. */
function writeGeneration(folder, content, durable) {
  const folders = new Set([""]);
  for (const [name, bytes] of generationFiles(content, true)) {
    const steps = name.split("/").slice(0, -1);
    steps.map((_, at) => steps.slice(0, at + 1).join("/")).forEach((parent) => {
      if (!folders.has(parent)) createFolder(join(folder, parent));
      folders.add(parent);
    });
    createFile(join(folder, name), durable, (sink) => sink.write(bytes));
  }
  if (durable) [...folders].reverse().forEach((name) => syncFolder(join(folder, name)));
}

function commit(path, content, generation, durable) {
  if (durable) syncFolder(path);
  replaceFile(join(path, ROOT), durable, (sink) => sink.write(rootBytes(content, generation)));
}

/** A zip file of one generation, with the root's metadata last ([Z-8]). */
export function saveZarrZip(path, content, { durable, generation = newGeneration() }) {
  if (typeOf(path) === "dir") refuse("USAGE", "a path where a file is or may be", "a folder", { place: path });
  replaceFile(path, durable, (sink) => {
    const zip = new ZipWriter(sink);
    for (const [name, bytes] of generationFiles(content, false)) zip.add(`${generation}/${name}`, bytes);
    zip.add(ROOT, rootBytes(content, generation));
    zip.end();
  });
}

/** Removes generations that the root does not name and that nobody holds; what cannot be removed disturbs nobody. */
function removeOthers(path, generation) {
  for (const name of namesIn(path)) {
    if (name === generation || !isGeneration(path, name)) continue;
    const lock = lockFolder(join(path, name), true);
    if (lock === null) continue;
    if (decodeRoot(rootText(new FolderStore(path))).generation !== name) removeFolder(join(path, name));
    closeFolder(lock);
  }
}
