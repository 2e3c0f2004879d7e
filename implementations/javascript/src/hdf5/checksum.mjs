/** The checksum of HDF5's newer structures: Bob Jenkins's lookup3 with initial value 0. */

const BLOCK = 12;

const rotated = (word, bits) => (word << bits) | (word >>> (32 - bits));

export function lookup3(bytes) {
  let a = (0xdeadbeef + bytes.length) | 0;
  let b = a;
  let c = a;
  let at = 0;
  const add = (block) => {
    a = (a + block.readInt32LE(0)) | 0;
    b = (b + block.readInt32LE(4)) | 0;
    c = (c + block.readInt32LE(8)) | 0;
  };
  for (; bytes.length - at > BLOCK; at += BLOCK) {
    add(bytes.subarray(at, at + BLOCK));
    a = (a - c) ^ rotated(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotated(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotated(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotated(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotated(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotated(b, 4);
    b = (b + a) | 0;
  }
  if (at === bytes.length) return c >>> 0;
  const last = Buffer.alloc(BLOCK);
  bytes.copy(last, 0, at);
  add(last);
  c = ((c ^ b) - rotated(b, 14)) | 0;
  a = ((a ^ c) - rotated(c, 11)) | 0;
  b = ((b ^ a) - rotated(a, 25)) | 0;
  c = ((c ^ b) - rotated(b, 16)) | 0;
  a = ((a ^ c) - rotated(c, 4)) | 0;
  b = ((b ^ a) - rotated(a, 14)) | 0;
  c = ((c ^ b) - rotated(b, 24)) | 0;
  return c >>> 0;
}
