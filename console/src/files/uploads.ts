// The uploads of this tab: a queue that sends a few files at a time. Each can be paused, and goes on by itself after a
// lost connection.
import { Failure, failure, mayRepeat } from '../api/failure';
import type { Manifest } from '../transfer/manifest';
import { type Listener, type Sending, sendFile } from '../transfer/sending';

const AT_ONCE = 3; // a browser opens six connections to a proxy, and the rest of the page needs some
const PAUSES_SECONDS = [1, 2, 4, 8, 15, 30];

export type UploadState = 'waiting' | 'cutting' | 'sending' | 'retrying' | 'done' | 'paused' | 'exists' | 'failed';

const UNDER_WAY: readonly UploadState[] = ['waiting', 'cutting', 'sending', 'retrying'];

export interface Upload {
  id: number;
  bucket: string;
  path: string;
  file: File;
  state: UploadState;
  /** The share that has been sent, 0 to 1; while cutting, the share that has been cut. */
  progress: number;
  replace: boolean;
  manifest?: Manifest;
  wasCut: boolean;
  problem?: Failure;
}

/** Sends one file; resolves when it is committed. Throws a Failure. */
export type Send = (sending: Sending, listener: Listener, signal: AbortSignal) => Promise<void>;

export class Uploads {
  private items: Upload[] = [];
  private readonly sending = new Map<number, AbortController>();
  private readonly listeners = new Set<() => void>();
  private nextId = 1;

  constructor(
    private readonly send: Send = sendFile,
    private readonly wait: (seconds: number, signal: AbortSignal) => Promise<void> = waited,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** The uploads, oldest first. The same array until something changes. */
  readonly list = (): Upload[] => this.items;

  get isActive(): boolean {
    return this.items.some(isUnderWay);
  }

  add(bucket: string, files: readonly { path: string; file: File }[]): void {
    const added = files.map(({ path, file }): Upload => {
      return { id: this.nextId++, bucket, path, file, state: 'waiting', progress: 0, replace: false, wasCut: false };
    });
    this.items = [...this.items, ...added];
    this.startWaiting();
  }

  pause(id: number): void {
    this.change(id, { state: 'paused' });
    this.sending.get(id)?.abort();
  }

  /** Go on, or begin again; with `replace` also where the file exists. */
  resume(id: number, replace: boolean): void {
    const upload = this.items.find((one) => one.id === id);
    if (!upload || isUnderWay(upload)) return;
    this.change(id, { state: 'waiting', problem: undefined, replace: upload.replace || replace });
    this.startWaiting();
  }

  /** Forget what is not under way. */
  clear(): void {
    this.items = this.items.filter(isUnderWay);
    this.tell();
  }

  private startWaiting(): void {
    for (const upload of this.items) {
      if (this.sending.size >= AT_ONCE) break;
      if (upload.state === 'waiting' && !this.sending.has(upload.id)) void this.run(upload.id);
    }
    this.tell();
  }

  private async run(id: number): Promise<void> {
    const ended = new AbortController();
    this.sending.set(id, ended);
    try {
      for (let attempt = 0; !ended.signal.aborted; attempt++) {
        const problem = await this.attempt(id, ended.signal);
        if (!problem || ended.signal.aborted) break;
        this.change(id, { state: 'retrying', problem });
        await this.wait(PAUSES_SECONDS[Math.min(attempt, PAUSES_SECONDS.length - 1)] ?? 1, ended.signal);
      }
    } finally {
      this.sending.delete(id);
      this.startWaiting();
    }
  }

  /** One attempt. Returns the failure after which it is tried again by itself. */
  private async attempt(id: number, signal: AbortSignal): Promise<Failure | undefined> {
    const upload = this.items.find((one) => one.id === id);
    if (!upload) return undefined;
    const change = (changed: Partial<Upload>) => signal.aborted || this.change(id, changed);
    change({ state: 'sending', problem: undefined });
    const listener: Listener = {
      onCut: (progress) => change({ state: 'cutting', progress }),
      onManifest: (manifest) => this.change(id, { state: 'sending', progress: 0, manifest }),
      onSent: (progress) => change({ state: 'sending', progress }),
    };
    const { bucket, path, file, replace, manifest, wasCut } = upload;
    const lock = heldLocks.numberOf(bucket, path);
    try {
      await this.send({ bucket, path, file, replace, lock, manifest, wasCut }, listener, signal);
      change({ state: 'done', progress: 1 });
    } catch (error) {
      const problem = error instanceof Failure ? error : failure(0, undefined);
      const { status } = problem.problem;
      if (signal.aborted || status === 0 || status >= 500) this.change(id, { wasCut: true });
      if (signal.aborted) return undefined;
      // A full disk or quota (507) stays full.
      if (mayRepeat(problem) && status !== 507) return problem;
      change({ state: status === 412 ? 'exists' : 'failed', problem });
    }
    return undefined;
  }

  private change(id: number, changed: Partial<Upload>): void {
    this.items = this.items.map((one) => (one.id === id ? { ...one, ...changed } : one));
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

export function isUnderWay({ state }: Upload): boolean {
  return UNDER_WAY.includes(state);
}

/** The share of all bytes that has been sent, 0 to 1. */
export function shareSent(uploads: readonly Upload[]): number {
  const all = uploads.reduce((sum, { file }) => sum + file.size, 0);
  const sent = uploads.reduce((sum, { file, state, progress }) => sum + (state === 'cutting' ? 0 : file.size * progress), 0);
  return all ? sent / all : 1;
}

/** The number of the lock that this account holds on a path; set by whoever knows the locks. */
export const heldLocks: { numberOf: (bucket: string, path: string) => number | undefined } = {
  numberOf: () => undefined,
};

function waited(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
