// The uploads of this tab: a queue that sends a few files at a time and can be stopped and repeated.
import { CSRF_HEADER, csrfToken, fileAddress } from '../api/client';
import { Failure, failure } from '../api/failure';

const AT_ONCE = 3; // a browser opens six connections to a proxy, and the rest of the page needs some

export type UploadState = 'waiting' | 'sending' | 'done' | 'stopped' | 'exists' | 'failed';

export interface Upload {
  id: number;
  bucket: string;
  path: string;
  file: File;
  state: UploadState;
  /** The share that has been sent, 0 to 1. */
  progress: number;
  problem?: Failure;
}

/** Sends one file; resolves when it is committed. Throws a Failure. */
export type Send = (upload: Upload, replace: boolean, report: (share: number) => void, signal: AbortSignal) => Promise<void>;

export class Uploads {
  private items: Upload[] = [];
  private readonly sending = new Map<number, AbortController>();
  private readonly replacing = new Set<number>();
  private readonly listeners = new Set<() => void>();
  private nextId = 1;

  constructor(private readonly send: Send = sendFile) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** The uploads, oldest first. The same array until something changes. */
  readonly list = (): Upload[] => this.items;

  get isActive(): boolean {
    return this.items.some(({ state }) => state === 'waiting' || state === 'sending');
  }

  add(bucket: string, files: readonly { path: string; file: File }[]): void {
    const added = files.map(({ path, file }): Upload => {
      return { id: this.nextId++, bucket, path, file, state: 'waiting', progress: 0 };
    });
    this.items = [...this.items, ...added];
    this.startWaiting();
  }

  stop(id: number): void {
    this.change(id, { state: 'stopped' });
    this.sending.get(id)?.abort();
  }

  /** Begin again; with `replace` also where the file exists. */
  repeat(id: number, replace: boolean): void {
    if (replace) this.replacing.add(id);
    this.change(id, { state: 'waiting', progress: 0, problem: undefined });
    this.startWaiting();
  }

  /** Forget what is not under way. */
  clear(): void {
    this.items = this.items.filter(({ state }) => state === 'waiting' || state === 'sending');
    this.tell();
  }

  private startWaiting(): void {
    for (const upload of this.items) {
      if (this.sending.size >= AT_ONCE) break;
      if (upload.state === 'waiting') void this.run(upload);
    }
    this.tell();
  }

  private async run(upload: Upload): Promise<void> {
    const { id } = upload;
    const ended = new AbortController();
    this.sending.set(id, ended);
    this.change(id, { state: 'sending' });
    try {
      const report = (progress: number) => this.change(id, { progress });
      await this.send(upload, this.replacing.has(id), report, ended.signal);
      this.change(id, { state: 'done', progress: 1 });
    } catch (error) {
      if (!ended.signal.aborted) {
        const problem = error instanceof Failure ? error : failure(0, undefined);
        this.change(id, { state: problem.problem.status === 412 ? 'exists' : 'failed', problem });
      }
    } finally {
      this.sending.delete(id);
      this.startWaiting();
    }
  }

  private change(id: number, changed: Partial<Upload>): void {
    this.items = this.items.map((one) => (one.id === id ? { ...one, ...changed } : one));
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

/** The number of the lock that this account holds on a path; set by whoever knows the locks. */
export const heldLocks: { numberOf: (bucket: string, path: string) => number | undefined } = {
  numberOf: () => undefined,
};

// fetch reports no progress of a request's body; XMLHttpRequest does.
function sendFile(upload: Upload, replace: boolean, report: (share: number) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('PUT', fileAddress(upload.bucket, upload.path));
    request.setRequestHeader(CSRF_HEADER, csrfToken());
    if (!replace) request.setRequestHeader('If-None-Match', '*');
    const lock = heldLocks.numberOf(upload.bucket, upload.path);
    if (lock !== undefined) request.setRequestHeader('X-Lockstep-Lock', String(lock));
    request.upload.onprogress = (event) => report(event.total ? event.loaded / event.total : 1);
    request.onload = () => {
      if (request.status < 300) resolve();
      else reject(failure(request.status, parsed(request.responseText)));
    };
    request.onerror = () => reject(failure(0, undefined));
    request.onabort = () => reject(failure(0, undefined));
    signal.addEventListener('abort', () => request.abort());
    request.send(upload.file);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
