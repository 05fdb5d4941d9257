// A file's chunks, and the chunk stream that sends them: the framing of docs/wire-protocol.md.

export const STREAM_TYPE = 'application/vnd.lockstep.chunk-stream';

const DIGEST_BYTES = 32;
export const ENTRY_BYTES = DIGEST_BYTES + 4;
const WITHOUT_BYTES = 0;
const WITH_BYTES = 1;
const END = 2;

export interface Manifest {
  /** Each chunk's digest and its length, as the cluster writes them: 36 bytes a chunk. */
  entries: Uint8Array<ArrayBuffer>;
  /** The digest of the whole content, in hexadecimal. */
  digest: string;
}

export interface Chunk {
  digest: string;
  offset: number;
  length: number;
}

export function chunksOf({ entries }: Manifest): Chunk[] {
  const view = new DataView(entries.buffer, entries.byteOffset);
  const chunks: Chunk[] = [];
  let offset = 0;
  for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
    const length = view.getUint32(at + DIGEST_BYTES);
    chunks.push({ digest: hex(entries.subarray(at, at + DIGEST_BYTES)), offset, length });
    offset += length;
  }
  return chunks;
}

/** A whole stream of the file, with the bytes of each chunk in `wanted`, once. The browser reads them as it sends. */
export function streamOf(file: Blob, manifest: Manifest, chunks: readonly Chunk[], wanted: ReadonlySet<string>): Blob {
  const { entries } = manifest;
  const parts: BlobPart[] = ['LSC1'];
  const sent = new Set<string>();
  chunks.forEach(({ digest, offset, length }, index) => {
    const isSent = wanted.has(digest) && !sent.has(digest);
    const at = index * ENTRY_BYTES;
    parts.push(Uint8Array.of(isSent ? WITH_BYTES : WITHOUT_BYTES), entries.subarray(at, at + ENTRY_BYTES));
    if (isSent) parts.push(file.slice(offset, offset + length));
    sent.add(digest);
  });
  const size = new DataView(new ArrayBuffer(8));
  size.setBigUint64(0, BigInt(file.size));
  parts.push(Uint8Array.of(END), bytesOf(manifest.digest), size.buffer);
  return new Blob(parts);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
