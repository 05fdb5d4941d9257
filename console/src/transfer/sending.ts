// Sends one file. A small one as it is; of a larger one only the chunks that the cluster asks for, as `lockstep put` does.
import { bytes, CSRF_HEADER, csrfToken, endSession, fileAddress } from '../api/client';
import { Failure, failure } from '../api/failure';
import { cut, fileChanged } from './cutter';
import { type Chunk, chunksOf, type Manifest, STREAM_TYPE, streamOf } from './manifest';

const SMALL_BYTES = 1024 * 1024;
const MAX_ROUNDS = 8;

/** What is sent, and what earlier attempts learnt. */
export interface Sending {
  bucket: string;
  path: string;
  file: File;
  /** Also where a file exists. */
  replace: boolean;
  /** The number of this account's lock on the path. */
  lock: number | undefined;
  /** The file's chunks, from an attempt before this one. */
  manifest: Manifest | undefined;
  /** Whether an attempt ended without a reply: it may have been committed. */
  wasCut: boolean;
}

/** Gets the chunks once they are known, and the shares (0 to 1) that have been cut and sent. */
export interface Listener {
  onCut(share: number): void;
  onManifest(manifest: Manifest): void;
  onSent(share: number): void;
}

/** Sends one file; resolves when it is committed. Throws a Failure. */
export async function sendFile(sending: Sending, listener: Listener, signal: AbortSignal): Promise<void> {
  try {
    const isLarge = sending.file.size > SMALL_BYTES;
    if (isLarge || sending.wasCut) {
      const current = await currentDigest(sending, signal);
      if (sending.wasCut && current && (await manifestOf(sending, listener, signal)).digest === current) return;
      if (current && !sending.replace) throw failure(412, { code: 'precondition_failed' });
    }
    if (isLarge) await sendChunks(sending, await manifestOf(sending, listener, signal), listener, signal);
    else await put(sending, sending.file, {}, listener.onSent, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof Failure)) throw error;
    const { status, code } = error.problem;
    if (status === 401) endSession();
    // Without a reply, the cause can be this side: a browser stops sending a file that has changed.
    if (code === 'bad_digest' || (status === 0 && !(await isReadable(sending.file)))) throw fileChanged();
    throw error;
  }
}

async function manifestOf(sending: Sending, listener: Listener, signal: AbortSignal): Promise<Manifest> {
  if (!sending.manifest) {
    sending.manifest = await cut(sending.file, listener.onCut, signal);
    listener.onManifest(sending.manifest);
  }
  return sending.manifest;
}

async function sendChunks(sending: Sending, manifest: Manifest, listener: Listener, signal: AbortSignal): Promise<void> {
  const { file } = sending;
  const chunks = chunksOf(manifest);
  const headers = { 'Content-Type': STREAM_TYPE, 'X-Lockstep-Digest': manifest.digest, 'X-Lockstep-Size': `${file.size}` };
  if (file.type) Object.assign(headers, { 'X-Lockstep-Content-Type': file.type });
  // First no bytes at all: the reply names the chunks that are missing, or refuses before anything large was sent.
  let wanted = new Set<string>();
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const missing = bytesIn(chunks, wanted) / file.size;
    const report = (share: number) => wanted.size > 0 && listener.onSent(1 - missing * (1 - share));
    try {
      return await put(sending, streamOf(file, manifest, chunks, wanted), headers, report, signal);
    } catch (error) {
      const named = error instanceof Failure && error.problem.code === 'missing_chunks' ? error.problem.digests : undefined;
      if (!named) throw error;
      // Chunks that had been sent are gone, or the list was too long: then everything is sent once.
      const grown = new Set([...wanted, ...named]);
      wanted = grown.size > wanted.size ? grown : new Set(chunks.map(({ digest }) => digest));
    }
  }
  throw failure(503, { code: 'unavailable' });
}

function bytesIn(chunks: readonly Chunk[], wanted: ReadonlySet<string>): number {
  return chunks.reduce((sum, { digest, length }) => sum + (wanted.has(digest) ? length : 0), 0);
}

/** The digest of the path's current version; undefined if there is none, or it may not be read. */
async function currentDigest({ bucket, path }: Sending, signal: AbortSignal): Promise<string | undefined> {
  try {
    const reply = await bytes(fileAddress(bucket, path), { method: 'HEAD', signal });
    return reply.headers.get('X-Lockstep-Digest') ?? undefined;
  } catch (error) {
    if (error instanceof Failure && [403, 404].includes(error.problem.status)) return undefined;
    throw error;
  }
}

async function isReadable(file: File): Promise<boolean> {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

type Headers = Record<string, string>;

// fetch reports no progress of a request's body; XMLHttpRequest does.
function put(sending: Sending, body: Blob, headers: Headers, report: (share: number) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('PUT', fileAddress(sending.bucket, sending.path));
    request.setRequestHeader(CSRF_HEADER, csrfToken());
    if (!sending.replace) request.setRequestHeader('If-None-Match', '*');
    if (sending.lock !== undefined) request.setRequestHeader('X-Lockstep-Lock', String(sending.lock));
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => report(event.total ? event.loaded / event.total : 1);
    request.onload = () => {
      if (request.status < 300) resolve();
      else reject(failure(request.status, parsed(request.responseText)));
    };
    request.onerror = () => reject(failure(0, undefined));
    request.onabort = () => reject(failure(0, undefined));
    signal.addEventListener('abort', () => request.abort());
    request.send(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
