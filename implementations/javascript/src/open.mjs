/** Which container a path is, told by its content ([R-1], [S-4]), and a reader of it. */

import { BsonReader, isBson } from "./bson.mjs";
import { refuse } from "./errors.mjs";
import { openFile, typeBehindLinks } from "./files.mjs";
import { Hdf5Reader, isHdf5 } from "./hdf5.mjs";
import { isZarrZip, openZarrFolder, openZarrZip } from "./zarr.mjs";

/** First bytes, in hexadecimal -> what files that begin with them are. */
const FOREIGN = [
  ["894844460d0a1a0a", "another HDF5 file"],
  ["504b0304", "a zip file, perhaps of PyTorch or NumPy"],
  ["934e554d5059", "a NumPy array"],
  ["1f8b", "a gzip file"],
  ["8002", "a pickle"],
  ["8003", "a pickle"],
  ["8004", "a pickle"],
  ["8005", "a pickle"],
];

/**
 * A reader: `manifestBytes` and `infoBytes`, held against their digests; `bind(manifest)` holds the container against the manifest;
 * then `blocks(size)` gives the block digests, and `ways(index)` the ways to the canonical bytes of an array, each of them in pieces.
 */
export function openContainer(path, limits) {
  const type = typeBehindLinks(path);
  if (type === null) refuse("NOT_FOUND", "a file or folder", "nothing", { place: path });
  if (type === "dir") return openZarrFolder(path, limits);
  if (type === "special") refuse("FS_SPECIAL", "a file or folder", "a special file", { place: path });
  const file = openFile(path, path, true);
  try {
    return readerOf(file)(file, limits);
  } catch (error) {
    file.close();
    throw error;
  }
}

function readerOf(file) {
  if (isBson(file)) return (...all) => new BsonReader(...all);
  if (isHdf5(file)) return (...all) => new Hdf5Reader(...all);
  if (isZarrZip(file)) return openZarrZip;
  const start = file.read(0, Math.min(file.size, 8)).toString("hex");
  const found = FOREIGN.find(([bytes]) => start.startsWith(bytes))?.[1] ?? "another file";
  return refuse("NOT_STATETREE", "a container of the statetree format", found, { place: file.place });
}
