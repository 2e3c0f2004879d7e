/** How much memory is free, for the limit of section 8 on the bytes of all arrays ([L-1]). */

import { readFileSync } from "node:fs";
import { freemem } from "node:os";

export function availableMemory() {
  try {
    const match = /^MemAvailable: +([0-9]+) kB$/m.exec(readFileSync("/proc/meminfo", "latin1"));
    return Number(match[1]) * 1024;
  } catch {
    return freemem();
  }
}
