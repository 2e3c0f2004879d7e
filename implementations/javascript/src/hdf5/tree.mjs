/** B-trees of version 1 and 2: all their entries, in order. */

import { broken, bytesFor, checkedAt, Fields, fieldsAt } from "./bytes.mjs";

const OLD_HEADER = 24;
const NEW_HEADER = 34;
const NEW_PREFIX = 6;
const AROUND_RECORDS = 10;

/**
 * Yields [key, address] of each entry of a B-tree of version 1; keys are Fields. `tooMany` is called when it names more entries than
 * the file can hold, as a tree does that names its nodes many times.
 */
export function* oldTree(file, address, type, keySize, tooMany) {
  let left = Math.ceil(file.size / (keySize + 8));
  yield* below(address, null);

  function* below(at, wantedLevel) {
    const header = fieldsAt(file, at, OLD_HEADER, "a B-tree").expect("TREE");
    const [nodeType, level] = header.numbers(2, 1);
    const count = header.number(2);
    if (nodeType !== type || (wantedLevel !== null && level !== wantedLevel)) broken("a B-tree");
    const fields = fieldsAt(file, at + OLD_HEADER, count * (keySize + 8), "a B-tree");
    for (let number = 0; number < count; number++) {
      if (left-- === 0) tooMany();
      const key = new Fields(fields.take(keySize), "a B-tree");
      const child = fields.address();
      if (level === 0) yield [key, child];
      else yield* below(child, level - 1);
    }
  }
}

/** Yields the records of a B-tree of version 2, as Fields. */
export function* newTree(file, address, type, tooMany) {
  const header = checkedAt(file, address, NEW_HEADER, "a B-tree").expect("BTHD").skip(1);
  if (header.number(1) !== type) broken("a B-tree");
  const nodeSize = header.number(4);
  const [recordSize, depth] = header.numbers(2, 2);
  const [root, rootCount] = [header.skip(2).address(), header.number(2)];
  if (nodeSize <= AROUND_RECORDS || recordSize === 0) broken("a B-tree");
  const levels = levelsOf(nodeSize, recordSize, depth);
  let left = Math.ceil(file.size / recordSize);
  if (rootCount > 0) yield* below(root, depth, rootCount);

  function* below(at, level, count) {
    const { pointer, countSize, totalSize } = levels[level];
    const size = NEW_PREFIX + count * recordSize + (level === 0 ? 0 : (count + 1) * pointer);
    const node = checkedAt(file, at, size, "a B-tree").expect(level === 0 ? "BTLF" : "BTIN").skip(2);
    const records = Array.from({ length: count }, () => new Fields(node.take(recordSize), "a B-tree"));
    for (let number = 0; number <= count; number++) {
      if (level > 0) {
        const [child, childCount] = [node.address(), node.number(countSize)];
        node.skip(totalSize);
        yield* below(child, level - 1, childCount);
      }
      if (number === count) return;
      if (left-- === 0) tooMany();
      yield records[number];
    }
  }
}

/** For each level of a B-tree of version 2 the sizes of a pointer to a node below and of the two counts in it. */
function levelsOf(nodeSize, recordSize, depth) {
  let most = Math.floor((nodeSize - AROUND_RECORDS) / recordSize);
  const countSize = bytesFor(most);
  let [total, totalSize] = [most, 0];
  const levels = [{ pointer: 0, countSize, totalSize }];
  for (let level = 1; level <= depth; level++) {
    const pointer = 8 + countSize + totalSize;
    levels.push({ pointer, countSize, totalSize });
    most = Math.floor((nodeSize - AROUND_RECORDS - pointer) / (recordSize + pointer));
    total = (most + 1) * total + most;
    totalSize = bytesFor(total);
  }
  return levels;
}
