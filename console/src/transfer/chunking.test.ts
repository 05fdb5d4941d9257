import { blake3 } from '@noble/hashes/blake3.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';

import table from './chunking.cases.json';
import { manifestOf } from './cutting';
import { chunksOf, ENTRY_BYTES, hex, type Manifest, streamOf } from './manifest';

/** The content that chunking.cases.json describes. */
function content(mixedBytes: number, size: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(Math.max(32 * Math.ceil(mixedBytes / 32), 1));
  const encoder = new TextEncoder();
  for (let at = 0; at < mixedBytes; at += 32) block.set(sha256(encoder.encode(String(at / 32))), at);
  const mixed = block.subarray(0, Math.max(mixedBytes, 1));
  const whole = new Uint8Array(size);
  for (let at = 0; at < size; at += mixed.length) whole.set(mixed.subarray(0, size - at), at);
  return whole;
}

describe('cutting and hashing', () => {
  it.each(table.cases)('is as in the cluster: $name', { timeout: 60_000 }, async (one) => {
    const shares: number[] = [];
    const manifest = await manifestOf(new Blob([content(one.mixed_bytes, one.bytes)]), (done) => shares.push(done));
    const chunks = chunksOf(manifest);
    expect(chunks.map(({ length }) => length)).toEqual(one.lengths);
    expect(chunks.map(({ digest }) => digest)).toEqual(one.digests);
    expect(manifest.digest).toBe(one.digest);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
  });

  it('looks past the end of a window', { timeout: 60_000 }, async () => {
    const whole = content(3_000_000, 40_000_000);
    const chunks = chunksOf(await manifestOf(new Blob([whole]), () => {}));
    expect(chunks.at(-1)!.offset + chunks.at(-1)!.length).toBe(whole.length);
    for (const { digest, offset, length } of [chunks[0]!, chunks.at(-1)!]) {
      expect(digest).toBe(hex(blake3(whole.subarray(offset, offset + length))));
    }
    // After the first pass each turn of the pattern is cut alike, also where a window ends.
    expect(new Set(chunks.map(({ digest }) => digest)).size).toBeLessThan(12);
  });

  it('says when the file cannot be read', async () => {
    const gone = { size: 5, slice: () => ({ arrayBuffer: () => Promise.reject(new Error('NotReadableError')) }) };
    await expect(manifestOf(gone as unknown as Blob, () => {})).rejects.toThrow('NotReadableError');
  });
});

describe('a chunk stream', () => {
  const file = new Blob(['aaabbaaa']);
  const entry = (fill: number, length: number) => [...new Uint8Array(32).fill(fill), 0, 0, 0, length];
  const manifest: Manifest = {
    entries: Uint8Array.from([...entry(1, 3), ...entry(2, 2), ...entry(1, 3)]),
    digest: '0f'.repeat(32),
  };
  const [first, second] = chunksOf(manifest);
  const end = [2, ...new Uint8Array(32).fill(15), 0, 0, 0, 0, 0, 0, 0, 8];
  const streamed = async (wanted: Set<string>) => [
    ...new Uint8Array(await streamOf(file, manifest, chunksOf(manifest), wanted).arrayBuffer()),
  ];
  const text = (letters: string) => [...new TextEncoder().encode(letters)];

  it('has no content when no chunk is wanted', async () => {
    expect((await streamed(new Set())).length).toBe(4 + 3 * (1 + ENTRY_BYTES) + 41);
  });

  it('brings a wanted chunk once, however often the file has it', async () => {
    const frames = [1, ...entry(1, 3), ...text('aaa'), 0, ...entry(2, 2), 0, ...entry(1, 3)];
    expect(await streamed(new Set([first!.digest]))).toEqual([...text('LSC1'), ...frames, ...end]);
    expect(second).toMatchObject({ offset: 3, length: 2 });
  });
});
