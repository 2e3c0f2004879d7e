/** Where the chunks of a dataset are, by whichever index it has. */

import { refuse } from "../errors.mjs";
import { chunkArray } from "./arrays.mjs";
import { broken, NOWHERE } from "./bytes.mjs";
import { newTree, oldTree } from "./tree.mjs";

const CHUNK_NODE = 1;
const PLAIN_RECORD = 10;
const FILTERED_RECORD = 11;

/**
 * The chunks of a dataset as a map from their place, the numbers of the chunk along each axis joined by commas, to {address, size,
 * mask}. Chunks that are not stored are not in it.
 */
export function chunksOf(file, dataset, place) {
  const { layout } = dataset;
  if (layout.address === NOWHERE) return new Map();
  const tooMany = () => refuse("ARRAY_MISSING_CHUNK", "an index of chunks that the file can hold", "more entries", { place });
  const grid = gridOf(dataset);
  if (grid.counts.reduce((product, count) => product * count, 1) > file.size) tooMany();
  const all = INDEXES[layout.index] ?? broken("an index of chunks");
  const stored = [...all(file, grid, tooMany)].filter(([, { address }]) => address !== NOWHERE);
  return new Map(stored.map(([numbers, chunk]) => [numbers.join(), chunk]));
}

/** What an index needs to know: layout, whether there are filters, bytes and numbers of chunks along each axis, now and at most. */
function gridOf({ shape, most, layout, filters }) {
  const extents = layout.chunk.slice(0, -1);
  const counts = shape.map((extent, axis) => Math.ceil(extent / extents[axis]));
  const limits = most.map((extent, axis) => Math.ceil(extent / extents[axis]));
  const size = layout.chunk.reduce((product, extent) => product * extent, 1);
  return { ...layout, isFiltered: filters.length > 0, extents, counts, limits, size };
}

const INDEXES = {
  "old tree": function* (file, { address, extents }, tooMany) {
    for (const [key, chunk] of oldTree(file, address, CHUNK_NODE, 16 + 8 * extents.length, tooMany)) {
      const [size, mask] = key.numbers(2, 4);
      yield [extents.map((extent) => key.number(8) / extent), { address: chunk, size, mask }];
    }
  },

  "new tree": function* (file, { address, isFiltered, extents, size }, tooMany) {
    for (const record of newTree(file, address, isFiltered ? FILTERED_RECORD : PLAIN_RECORD, tooMany)) {
      const chunk = record.address();
      // The size of a filtered chunk takes what numbers its address and place leave of the record.
      const stored = isFiltered ? record.number(record.left - 4 - 8 * extents.length) : size;
      const mask = isFiltered ? record.number(4) : 0;
      yield [record.numbers(extents.length, 8), { address: chunk, size: stored, mask }];
    }
  },

  *single(file, { address, single, counts, size }) {
    yield [counts.map(() => 0), { address, mask: 0, size, ...single }];
  },

  *implicit(file, { address, counts, limits, size }) {
    for (const numbers of placesOf(counts)) yield [numbers, { address: address + linear(numbers, limits) * size, size, mask: 0 }];
  },

  *"fixed array"(file, grid) {
    yield* elements(file, grid, (numbers) => linear(numbers, grid.limits));
  },

  *"extensible array"(file, grid) {
    // The axis without a maximum comes first.
    const axis = grid.limits.findIndex((limit) => limit === Infinity);
    const moved = (all) => [all[axis], ...all.filter((_, at) => at !== axis)];
    yield* elements(file, grid, (numbers) => linear(moved(numbers), moved(grid.limits)));
  },
};

/** The number of a chunk where the last axis runs fastest; no axis but the first may be without a maximum. */
const linear = (numbers, limits) => numbers.reduce((index, number, axis) => index * (axis === 0 ? 1 : limits[axis]) + number, 0);

function* elements(file, { index, address, isFiltered, counts, size }, numberOf) {
  const element = chunkArray(file, index, address, isFiltered);
  for (const numbers of placesOf(counts)) yield [numbers, { size, mask: 0, ...element(numberOf(numbers)) }];
}

/** All places of a grid, the last axis running fastest. */
function* placesOf(counts) {
  const numbers = counts.map(() => 0);
  for (let axis = 0; axis >= 0; ) {
    yield [...numbers];
    for (axis = counts.length - 1; axis >= 0 && ++numbers[axis] === counts[axis]; axis--) numbers[axis] = 0;
  }
}
