/** The bytes of a dataset, in C order, from whatever layout it has ([H-5], [H-9]). */

import { unpack } from "../compression.mjs";
import { refuse } from "../errors.mjs";
import { NOWHERE } from "./bytes.mjs";
import { chunksOf } from "./chunks.mjs";

const LARGEST_SLAB = 2 ** 32;

const missing = (place, what) => refuse("ARRAY_MISSING_CHUNK", "all bytes stored", what, { place });

/** The `size` bytes of a dataset, which is not empty, in pieces; nothing is read before the storage was judged. */
export function piecesOf(file, dataset, size, place) {
  const { layout } = dataset;
  if (layout.kind === "chunked") return chunked(file, dataset, place);
  if (layout.address === NOWHERE) missing(place, "no storage");
  const stored = layout.kind === "compact" ? layout.bytes.length : layout.size;
  if (stored < size) missing(place, `${stored} of ${size} bytes`);
  if (layout.kind === "compact") return [layout.bytes.subarray(0, size)];
  judgeEnd(file, layout.address, size, place);
  return file.pieces(layout.address, size);
}

function judgeEnd(file, address, size, place) {
  if (!file.holds(address, size)) refuse("CONTAINER_TRUNCATED", "data inside of the file", `${size} bytes at ${address}`, { place });
}

/** Judges the index of chunks, then yields all rows that one row of chunks covers, and so on. */
function chunked(file, dataset, place) {
  const { shape, layout } = dataset;
  const extents = layout.chunk.slice(0, -1);
  if (extents.length !== shape.length || extents.some((extent, axis) => extent === 0 || extent > shape[axis])) {
    refuse("BACKEND_MISMATCH", "chunks within the array", `chunks of ${extents}`, { place });
  }
  const chunks = chunksOf(file, dataset, place);
  const counts = shape.map((extent, axis) => Math.ceil(extent / extents[axis]));
  if (counts.reduce((product, count) => product * count, 1) > chunks.size) missing(place, `${chunks.size} chunks`);
  return slabs(file, dataset, { chunks, extents, counts }, place);
}

function* slabs(file, dataset, { chunks, extents, counts }, place) {
  const { shape, layout } = dataset;
  const itemsize = layout.chunk.at(-1);
  const rowSize = shape.slice(1).reduce((product, extent) => product * extent, itemsize);
  if (extents[0] * rowSize > LARGEST_SLAB) refuse("LIMIT_BYTES", `rows of chunks of at most ${LARGEST_SLAB} bytes`, "more", { place });
  for (let row = 0; row < counts[0]; row++) {
    const rows = Math.min(extents[0], shape[0] - row * extents[0]);
    const slab = Buffer.alloc(rows * rowSize);
    for (const numbers of across(counts.slice(1))) {
      const at = [row, ...numbers];
      const chunk = chunks.get(at.join()) ?? missing(place, `no chunk ${at}`);
      const isEdge = at.some((number, axis) => (number + 1) * extents[axis] > shape[axis]);
      const bytes = unfiltered(file, dataset, chunk, isEdge, place);
      copyBlock(slab, [rows, ...shape.slice(1)], bytes, extents, [0, ...numbers.map((number, axis) => number * extents[axis + 1])], itemsize);
    }
    yield slab;
  }
}

/** All combinations of a number below each count. */
function across(counts) {
  return counts.reduce((all, count) => all.flatMap((numbers) => Array.from({ length: count }, (_, number) => [...numbers, number])), [[]]);
}

/** The bytes of a chunk, with its filters undone unless its mask says that they were skipped. */
function unfiltered(file, { layout, filters }, { address, size: stored, mask }, isEdge, place) {
  const size = layout.chunk.reduce((product, extent) => product * extent, 1);
  judgeEnd(file, address, stored, place);
  let bytes = file.read(address, stored);
  const done = filters.filter((_, at) => (mask & (1 << at)) === 0 && (layout.wholeEdges || !isEdge));
  for (const { isDeflate, parameter } of done.reverse()) {
    bytes = isDeflate ? unpack("zlib", bytes, size, place) : unshuffled(bytes, parameter);
  }
  if (bytes.length !== size) refuse("DIGEST", `a chunk of ${size} bytes`, `${bytes.length}`, { place });
  return bytes;
}

/** Undoes shuffle: the first bytes of all elements stand first, then the second ones, and so on; a rest that is no element stays. */
function unshuffled(bytes, itemsize) {
  const count = Math.floor(bytes.length / itemsize);
  if (!(itemsize > 1) || count < 2) return bytes;
  const whole = Buffer.from(bytes);
  for (let place = 0, from = 0; place < itemsize; place++) {
    for (let element = 0; element < count; element++) whole[element * itemsize + place] = bytes[from++];
  }
  return whole;
}

/** Copies a block, as far as it lies within the shape, to its place; axes that it covers whole are one run with the axis before. */
function copyBlock(target, shape, block, extents, at, itemsize) {
  let last = shape.length - 1;
  let unit = itemsize;
  while (last > 0 && extents[last] === shape[last]) unit *= extents[last--];
  const sizes = extents.slice(0, last + 1).map((extent, axis) => Math.min(extent, shape[axis] - at[axis]));
  const run = sizes[last] * unit;
  for (const place of across(sizes.slice(0, last))) {
    const from = offsetOf([...place, 0], extents) * unit;
    const to = offsetOf([...place, 0].map((number, axis) => number + at[axis]), shape) * unit;
    block.copy(target, to, from, from + run);
  }
}

const offsetOf = (place, extents) => place.reduce((offset, number, axis) => offset * extents[axis] + number, 0);
