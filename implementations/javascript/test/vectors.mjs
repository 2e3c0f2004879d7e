/** The vectors of the specification (conformance, section 2), as far as their bytes are there and not to be made by a recipe. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { folder } from "./making.mjs";

const HERE = fileURLToPath(new URL("../../../spec/statetree_spec/vectors/1.0/", import.meta.url));

/** Each vector with the folder that it lies in, `valid` or `invalid`. */
export function vectors() {
  return ["valid", "invalid"].flatMap((kind) => {
    const names = readdirSync(join(HERE, kind)).filter((name) => name.endsWith(".json"));
    return names.sort().map((name) => ({ kind, ...JSON.parse(readFileSync(join(HERE, kind, name), "utf8")) }));
  });
}

/** Where the bytes of a vector are; a folder is made first. */
export function placeOf({ kind, id, bytes }) {
  if (bytes.file !== undefined) return join(HERE, kind, bytes.file);
  const root = join(folder, `${kind}-${id}.zarr`);
  mkdirSync(root);
  for (const [name, content] of Object.entries(bytes.files)) make(join(root, name), content);
  return root;
}

function make(path, { text, hex, link, fifo, folder: isFolder }) {
  mkdirSync(isFolder ? path : dirname(path), { recursive: true });
  if (text !== undefined) writeFileSync(path, text);
  if (hex !== undefined) writeFileSync(path, Buffer.from(hex, "hex"));
  if (link !== undefined) symlinkSync(link, path);
  if (fifo) execFileSync("mkfifo", [path]);
}
