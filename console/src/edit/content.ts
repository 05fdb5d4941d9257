// Loads and saves the text of a file with what must stay: its content type and its metadata.
import { bytes, CSRF_HEADER, csrfToken, fileAddress } from '../api/client';
import { decoded, encoded, MOST_BYTES, type Text } from './text';

export interface Content extends Text {
  /** The quoted digest: which content it was. */
  tag: string;
  contentType: string;
  metadata: string;
}

/** A file that cannot be edited here: it is too large, or no text. */
export class NoText extends Error {}

/** Load a file's current text. Throws a Failure, or NoText. */
export async function load(bucket: string, path: string, signal: AbortSignal): Promise<Content> {
  const reply = await bytes(fileAddress(bucket, path), { signal, cache: 'no-store' });
  if (Number(reply.headers.get('Content-Length') ?? 0) > MOST_BYTES) {
    await reply.body?.cancel();
    throw new NoText();
  }
  const text = decoded(new Uint8Array(await reply.arrayBuffer()));
  if (!text) throw new NoText();
  return {
    ...text,
    tag: reply.headers.get('ETag') ?? '',
    contentType: reply.headers.get('Content-Type') ?? 'text/plain',
    metadata: reply.headers.get('X-Lockstep-Metadata') ?? '',
  };
}

/** Save under a lock, if the file still has the content that was loaded. Returns the new content's tag. */
export async function save(
  bucket: string,
  path: string,
  content: Content,
  lock: { number: number; release: boolean },
): Promise<string> {
  const headers = {
    [CSRF_HEADER]: csrfToken(),
    'Content-Type': content.contentType,
    'If-Match': content.tag,
    'X-Lockstep-Lock': String(lock.number),
    ...(lock.release && { 'X-Lockstep-Release-Lock': 'true' }),
    ...(content.metadata && { 'X-Lockstep-Metadata': content.metadata }),
  };
  const reply = await bytes(fileAddress(bucket, path), { method: 'PUT', headers, body: encoded(content) });
  return `"${reply.headers.get('X-Lockstep-Digest') ?? ''}"`;
}
