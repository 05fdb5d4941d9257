// Cuts a file into chunks and hashes them. It runs in a worker of its own; see cutter.ts.
// hash-wasm hashes the content: WebAssembly is some fifteen times faster than BLAKE3 in JavaScript. It cannot derive keys, as
// the digest of a manifest needs it, so the library in JavaScript hashes that.
import { blake3 } from '@noble/hashes/blake3.js';
import { createBLAKE3 } from 'hash-wasm';

import { cutLength, LARGEST_CHUNK } from './chunking';
import format from './chunking.json';
import { ENTRY_BYTES, hex, type Manifest } from './manifest';

const WINDOW_BYTES = 4 * LARGEST_CHUNK;

/** The file's manifest. `report` gets the bytes done so far. Throws when the file cannot be read, as after a change. */
export async function manifestOf(file: Blob, report: (done: number) => void): Promise<Manifest> {
  const hash = await createBLAKE3();
  const entries: number[] = [];
  let window = new Uint8Array(0);
  let begin = 0;
  let offset = 0;
  do {
    if (offset + LARGEST_CHUNK > begin + window.length && begin + window.length < file.size) {
      begin = offset;
      window = new Uint8Array(await file.slice(begin, begin + WINDOW_BYTES).arrayBuffer());
      report(offset);
    }
    const rest = window.subarray(offset - begin);
    const length = cutLength(rest.subarray(0, LARGEST_CHUNK));
    const digest = hash.init().update(rest.subarray(0, length)).digest('binary');
    entries.push(...digest, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255);
    offset += length;
  } while (offset < file.size);
  const canonical = Uint8Array.from(entries);
  const isOne = canonical.length === ENTRY_BYTES;
  const context = new TextEncoder().encode(format.context);
  const digest = isOne ? canonical.subarray(0, -4) : blake3(canonical, { context });
  return { entries: canonical, digest: hex(digest) };
}
