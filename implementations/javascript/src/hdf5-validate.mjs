/** What a validator of an HDF5 file judges beside what a reader does ([H-10]). */

import { BLOCK_SIZE, isZero } from "./block.mjs";
import { refuse, shown } from "./errors.mjs";
import { HEADER_AT, HEADER_SIZE } from "./hdf5.mjs";
import { attributesOf, isContiguous } from "./hdf5/dataset.mjs";
import { linksOf } from "./hdf5/group.mjs";
import { isCarried } from "./hdf5/names.mjs";
import { ObjectHeader } from "./hdf5/object.mjs";

const TEXTS = ["manifest", "info", "index", "blocks"];

export function validateHdf5(reader, { version, entries }) {
  const { header, names, file } = reader;
  if (header.version !== version) refuse("BACKEND_MISMATCH", `version ${version}`, header.version, { place: "header" });
  judgeHeader(reader);
  for (const name of TEXTS) judgeText(reader, name);
  entries.forEach((entry, index) => judgeArray(reader, entry, index));
  judgeCycles(file, names.root, new Set(), new Set());
  judgeNames(reader, entries);
}

function judgeHeader({ names, isPlaced }) {
  const dataset = names.text("header");
  if (isPlaced) judgePlace(dataset, HEADER_AT, "header");
  const behind = names.bytesOf("header", HEADER_SIZE).subarray(BLOCK_SIZE);
  if (!isZero(behind)) refuse("HEADER_FORM", "zeros behind the header block", "other bytes", { place: "header" });
}

/** The data of a dataset begins where header block or index say so. */
function judgePlace(dataset, offset, place) {
  if (isContiguous(dataset) && dataset.layout.address === offset) return;
  refuse("BACKEND_MISMATCH", "the offset at which the data of the dataset begins", `${offset}`, { place });
}

function judgeText(reader, name) {
  const { names, header, isPlaced } = reader;
  const { offset, size } = header[name];
  const dataset = names.text(name);
  const [found] = dataset.shape;
  if (found !== size) refuse("H5_MANIFEST_FORM", `${size} bytes`, `${found}`, { place: name });
  if (isPlaced && size > 0) judgePlace(dataset, offset, name);
  reader.part(name, name === "blocks" ? "BLOCK_DIGEST" : "DIGEST");
}

/** An array is there by its name, stored, and where its row says, if that says anything. */
function judgeArray(reader, entry, index) {
  const dataset = reader.names.array(entry);
  const [offset] = reader.row(index);
  if (offset !== 0) judgePlace(dataset, offset, `arrays/${entry.name}`);
  if (entry.size > 0) reader.names.pieces(entry);
}

/** Attributes and objects are only those that rules name. */
function judgeNames({ names, file }, entries) {
  const { header, links } = names.group;
  for (const object of [names.root, header, ...["header", ...TEXTS].map((name) => names.text(name).header)]) {
    judgeAttributes(file, object, []);
  }
  for (const entry of entries) judgeAttributes(file, names.array(entry).header, isCarried(entry.dtype) ? ["dtype"] : []);
  const known = new Set(["header", "arrays", ...TEXTS]);
  for (const name of names.inRoot.keys()) {
    if (!known.has(name)) refuse("CONTAINER_EXTRA", "nothing that no rule names", shown(name), { place: name });
  }
  const table = new Set(entries.map(({ name }) => name));
  for (const [name, address] of links) if (!table.has(name)) refuseStray(file, name, address);
}

function judgeAttributes(file, header, allowed) {
  for (const [name] of attributesOf(file, header)) {
    if (!allowed.includes(name)) refuse("CONTAINER_EXTRA", "no other attributes", shown(name), { place: "HDF5" });
  }
}

function refuseStray(file, name, address) {
  const isDataset = address !== null && new ObjectHeader(file, address).isDataset;
  const code = isDataset ? "ARRAY_STRAY" : "CONTAINER_EXTRA";
  refuse(code, "arrays of the table only", shown(name), { place: "arrays" });
}

/** No group can be reached from itself. */
function judgeCycles(file, header, above, seen) {
  if (above.has(header.address)) refuse("H5_CYCLE", "groups that lead downwards only", "one that leads back", { place: "HDF5" });
  if (!header.isGroup || seen.has(header.address)) return;
  seen.add(header.address);
  const path = new Set([...above, header.address]);
  for (const address of linksOf(file, header).values()) {
    if (address !== null) judgeCycles(file, new ObjectHeader(file, address), path, seen);
  }
}
