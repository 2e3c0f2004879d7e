/** The objects that the format has in an HDF5 file, found by their names; no link is followed that is not hard ([H-2], [H-7]). */

import { refuse, shown } from "../errors.mjs";
import { DTYPES } from "../registry.mjs";
import { attributesOf, describe } from "./dataset.mjs";
import { piecesOf } from "./data.mjs";
import { linksOf } from "./group.mjs";
import { ObjectHeader } from "./object.mjs";
import { rootAddress } from "./superblock.mjs";

/** Whether a dtype has no datatype of its own and is told by the attribute `dtype` ([E-5], [H-8]). */
export const isCarried = (dtype) => DTYPES.get(dtype).hdf5.includes("attribute");

export class Names {
  constructor(file) {
    this.file = file;
    this.root = new ObjectHeader(file, rootAddress(file));
    this.inRoot = linksOf(file, this.root);
    this.arrays = new Map();
  }

  /** The header of the object that a link names, or null if there is no such name. */
  follow(links, name, place) {
    const address = links.get(name);
    if (address === undefined) return null;
    if (address === null) refuse("H5_LINK", "a hard link", "another link", { place });
    const header = new ObjectHeader(this.file, address);
    if (header.links > 1) refuse("H5_HARDLINK", "one link to an object", `${header.links}`, { place });
    return header;
  }

  /** The group of arrays and its links. */
  get group() {
    this.opened ??= this.openGroup();
    return this.opened;
  }

  openGroup() {
    const header = this.follow(this.inRoot, "arrays", "arrays");
    if (!header?.isGroup) refuse("ARRAY_MISSING", "a group of arrays", "none", { place: "arrays" });
    return { header, links: linksOf(this.file, header) };
  }

  /** The dataset of `header` or a text: uint8 of one dimension. */
  text(name) {
    const header = this.follow(this.inRoot, name, name);
    if (header === null) refuse("ARRAY_MISSING", "a dataset of this name", "none", { place: name });
    const wrong = (found) => refuse("H5_MANIFEST_FORM", "a dataset of uint8 with one dimension", found, { place: name });
    if (!header.isDataset) wrong("another object");
    const dataset = this.describe(header, name, wrong);
    if (dataset.dtype !== "uint8" || dataset.shape?.length !== 1) wrong(`${dataset.dtype} of shape ${dataset.shape}`);
    return dataset;
  }

  describe(header, place, wrong) {
    try {
      return { header, ...describe(header, place) };
    } catch (refusal) {
      if (refusal.code === "H5_DTYPE") wrong(refusal.found);
      throw refusal;
    }
  }

  /** The bytes of a text that has at most `size` of them. */
  bytesOf(name, size) {
    const dataset = this.text(name);
    const [found] = dataset.shape;
    if (found > size) refuse("H5_MANIFEST_FORM", `at most ${size} bytes`, `${found}`, { place: name });
    return found === 0 ? Buffer.alloc(0) : Buffer.concat([...piecesOf(this.file, dataset, found, name)]);
  }

  /** The dataset of an entry of the table of arrays, held against it. */
  array(entry) {
    const { name } = entry;
    if (!this.arrays.has(name)) this.arrays.set(name, this.openArray(entry, `arrays/${name}`));
    return this.arrays.get(name);
  }

  openArray({ name, dtype, shape }, place) {
    const header = this.follow(this.group.links, name, place);
    if (!header?.isDataset) refuse("ARRAY_MISSING", "a dataset of this name", header === null ? "none" : "another object", { place });
    const dataset = { header, ...describe(header, place) };
    const wanted = isCarried(dtype) ? "uint8" : dtype;
    if (dataset.dtype !== wanted || dataset.shape?.join() !== shape.join()) {
      refuse("BACKEND_MISMATCH", `${wanted} of shape (${shape})`, `${dataset.dtype} of shape (${dataset.shape})`, { place });
    }
    if (isCarried(dtype)) this.judgeName(header, dtype, place);
    return dataset;
  }

  judgeName(header, dtype, place) {
    const found = new Map(attributesOf(this.file, header)).get("dtype");
    if (found !== dtype) refuse("BACKEND_MISMATCH", `the attribute dtype ${dtype}`, shown(found), { place });
  }

  pieces(entry) {
    return piecesOf(this.file, this.array(entry), entry.size, `arrays/${entry.name}`);
  }
}
