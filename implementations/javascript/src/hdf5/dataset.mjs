/** Datasets: shape, dtype, layout, filters and attributes, and what a reader refuses of them before it reads data ([H-7], [H-8]). */

import { refuse } from "../errors.mjs";
import { broken, Fields, multipleOf8, NOWHERE } from "./bytes.mjs";
import { dtypeOf } from "./datatype.mjs";
import { denseMessages } from "./group.mjs";
import { MESSAGE } from "./object.mjs";

const LAYOUTS = ["compact", "contiguous", "chunked", "virtual"];
const SIMPLE = 1;
const DEFLATE = 1;
const SHUFFLE = 2;
const FILTERS = ["", `${DEFLATE}`, `${SHUFFLE}`, `${SHUFFLE},${DEFLATE}`];
const LOSSY = new Set([5, 6]);
const ATTRIBUTE_INDEX = 8;
const STRING = 3;
const LONGEST_NAME = 64;

/** What the header of a dataset says: `shape`, `most` (maximum extents), `dtype`, `layout` and `filters`. */
export function describe(header, place) {
  if (header.has(MESSAGE.external)) refuse("H5_EXTERNAL_DATA", "data of this file", "external storage", { place });
  const layout = layoutOf(header.find(MESSAGE.layout));
  if (layout.kind === "virtual") refuse("H5_EXTERNAL_DATA", "data of this file", "a virtual dataset", { place });
  const filters = filtersOf(header.find(MESSAGE.filters), place);
  if (header.isShared(MESSAGE.datatype)) refuse("H5_DTYPE", "a datatype of its own", "a committed datatype", { place });
  const dtype = dtypeOf(header.find(MESSAGE.datatype) ?? broken("a dataset"), place);
  return { ...dataspaceOf(header.find(MESSAGE.dataspace)), dtype, layout, filters };
}

/** `shape` is null where there is no dataspace at all. */
function dataspaceOf(fields) {
  const [version, rank, flags] = fields.numbers(3, 1);
  const kind = version === 1 ? fields.skip(5) && SIMPLE : fields.number(1);
  if (kind > SIMPLE) return { shape: null, most: null };
  const shape = fields.numbers(rank, 8);
  return { shape, most: flags & 1 ? fields.numbers(rank, 8) : shape };
}

function layoutOf(fields) {
  const version = fields.number(1);
  if (version < 3 || version > 5) broken("a dataset");
  const kind = LAYOUTS[fields.number(1)];
  switch (kind) {
    case "compact":
      return { kind, bytes: fields.take(fields.number(2)) };
    case "contiguous":
      return { kind, address: fields.address(), size: fields.number(8) };
    case "chunked":
      return version === 3 ? oldChunks(fields) : newChunks(fields);
    case "virtual":
      return { kind };
    default:
      return broken("a dataset");
  }
}

/** `chunk` has the extents of a chunk, then the size of an element. */
function oldChunks(fields) {
  const rank = fields.number(1);
  const address = fields.address();
  return { kind: "chunked", index: "old tree", address, chunk: fields.numbers(rank, 4), wholeEdges: true };
}

function newChunks(fields) {
  const flags = fields.number(1);
  const [rank, width] = fields.numbers(2, 1);
  const chunk = fields.numbers(rank, width);
  const index = ["", "single", "implicit", "fixed array", "extensible array", "new tree"][fields.number(1)];
  const single = index === "single" && flags & 2 ? { size: fields.number(8), mask: fields.number(4) } : null;
  const parameters = { "fixed array": 1, "extensible array": 5, "new tree": 6 }[index] ?? 0;
  return { kind: "chunked", index, single, address: fields.skip(parameters).address(), chunk, wholeEdges: (flags & 1) === 0 };
}

/** The filters of a pipeline, in the order of a writer: [{id, parameter}]. */
function filtersOf(fields, place) {
  if (fields === null) return [];
  const [version, count] = fields.numbers(2, 1);
  if (version === 1) fields.skip(6);
  const filters = Array.from({ length: count }, () => filter(fields, version));
  const ids = filters.map(({ id }) => id);
  if (ids.some((id) => LOSSY.has(id))) refuse("H5_LOSSY_FILTER", "filters that keep all bits", `${ids}`, { place });
  if (!FILTERS.includes(ids.join())) refuse("H5_FILTER", "shuffle, deflate, both in this order, or neither", `filters ${ids}`, { place });
  return filters.map(({ id, parameters }) => ({ isDeflate: id === DEFLATE, parameter: parameters[0] }));
}

function filter(fields, version) {
  const id = fields.number(2);
  const nameSize = version === 1 || id >= 256 ? fields.number(2) : 0;
  const count = fields.skip(2).number(2);
  const parameters = fields.skip(nameSize).numbers(count, 4);
  if (version === 1 && count % 2 === 1) fields.skip(4);
  return { id, parameters };
}

/** The attributes of an object as [name, value]; a value is a text, or null if it is no scalar string of a fixed length. */
export function* attributesOf(file, header) {
  for (const { type, bytes } of header.messages) {
    if (type === MESSAGE.attribute) yield attribute(new Fields(bytes, "an attribute"));
  }
  for (const message of denseMessages(file, header.find(MESSAGE.attributeInfo), 2, ATTRIBUTE_INDEX, 0)) yield attribute(message);
}

function attribute(fields) {
  const [version, flags] = fields.numbers(2, 1);
  const sizes = fields.numbers(3, 2);
  if (version === 3) fields.skip(1);
  const [name, datatype, dataspace] = sizes.map((size) => new Fields(fields.take(version === 1 ? multipleOf8(size) : size), "an attribute"));
  return [name.text(false), flags === 0 ? fixedText(datatype, dataspaceOf(dataspace).shape, fields) : null];
}

function fixedText(datatype, shape, fields) {
  const isString = (datatype.number(1) & 15) === STRING;
  const size = datatype.skip(3).number(4);
  if (!isString || shape === null || shape.length > 0 || size > LONGEST_NAME) return null;
  return fields.take(size).toString("utf8").replace(/\0.*$/s, "");
}

/** Whether a dataset is one run of bytes of the file. */
export const isContiguous = ({ layout }) => layout.kind === "contiguous" && layout.address !== NOWHERE;
