// Keeps the locks that were taken on this page: renews them, and keeps the places in line. No React in here.
//
// A lock outlives a reload, and ends by itself soon after the last tab of the page is closed: its lease is renewed at a
// fifth of its length, because browsers wake a hidden tab only once a minute.
import { api, data } from '../api/client';
import { mayRepeat, type Problem, problemOf } from '../api/failure';
import { CLIENT } from '../session/session';

export const LEASE_SECONDS = 300;
const RENEW_MILLISECONDS = (LEASE_SECONDS * 1000) / 5;
const WAIT_SECONDS = 20;
const PAUSE_MILLISECONDS = 3000;
const STORED = 'lockstep-kept-locks';

export interface Kept {
  bucket: string;
  path: string;
  /** The id of the lock; empty while in line. */
  lock: string;
  /** The number of the lock, for writes under it. */
  number?: number;
  /** The id with which the request for it is repeated. */
  request: string;
}

export interface Events {
  granted: (kept: Kept) => void;
  waiting: (kept: Kept, place: number) => void;
  /** `why` is the refusal to renew it. */
  lost: (kept: Kept, why: Problem) => void;
}

export class Keeper {
  private kept: Kept[];
  private readonly listeners = new Set<() => void>();
  private timer: ReturnType<typeof setInterval> | undefined;
  private listed: ReadonlySet<string> = new Set();
  private events: Events = { granted: () => {}, waiting: () => {}, lost: () => {} };

  constructor(private readonly storage: Pick<Storage, 'getItem' | 'setItem'>) {
    this.kept = JSON.parse(storage.getItem(STORED) ?? '[]') as Kept[];
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** The lock on a path, or the place in line for it, that this page keeps. */
  find(bucket: string, path: string): Readonly<Kept> | undefined {
    return this.kept.find((one) => one.bucket === bucket && one.path === path);
  }

  /** Release the lock on a path, or leave the line for it. If the proxy is away, it ends by itself. */
  async drop(bucket: string, path: string): Promise<void> {
    const one = this.find(bucket, path);
    if (!one) return;
    const id = one.lock || one.request;
    this.forget(id);
    await api.DELETE('/api/v1/locks/{id}', { params: { path: { id } } }).catch(() => undefined);
  }

  /** Begin to keep what was kept before a reload. Returns what ends it. */
  start(events: Events): () => void {
    this.events = events;
    this.timer = setInterval(() => void this.renew(), RENEW_MILLISECONDS);
    void this.renew();
    for (const one of this.kept) if (!one.lock) void this.wait(one);
    return () => clearInterval(this.timer);
  }

  /** Ask for the lock on a path, or get in line for it. Throws a Failure. */
  async take(bucket: string, path: string): Promise<void> {
    const one: Kept = { bucket, path, lock: '', request: newId() };
    const place = await this.ask(one, 0);
    this.change([...this.kept, one]);
    if (place === 0) return this.events.granted(one);
    this.events.waiting(one, place);
    void this.wait(one);
  }

  /** Do not keep the lock or place with this id any more; it has been released. */
  forget(id: string): void {
    this.change(this.kept.filter((one) => one.lock !== id && one.request !== id));
  }

  /** Release every lock and leave every line, as far as the proxy can be reached. */
  async letGo(): Promise<void> {
    const ids = this.kept.map((one) => one.lock || one.request);
    this.change([]);
    await Promise.allSettled(ids.map((id) => api.DELETE('/api/v1/locks/{id}', { params: { path: { id } } })));
  }

  /**
   * Renew at once if a lock is listed no more: only the reply to a renewal is certain. (One in a bucket that the account
   * may not list is never listed.)
   */
  check(listed: ReadonlySet<string>): void {
    const wereListed = this.listed;
    this.listed = listed;
    if (this.kept.some(({ lock }) => wereListed.has(lock) && !listed.has(lock))) void this.renew();
  }

  /** Renew every lock. Those that have ended are lost. */
  async renew(): Promise<void> {
    for (const one of this.kept.filter(({ lock }) => lock)) {
      try {
        const params = { path: { id: one.lock } };
        await data(api.PUT('/api/v1/locks/{id}', { params, body: { lease_seconds: LEASE_SECONDS } }));
      } catch (error) {
        if (!mayRepeat(error)) this.lose(one, error);
      }
    }
  }

  private async wait(one: Kept): Promise<void> {
    while (this.kept.includes(one) && !one.lock) {
      try {
        if ((await this.ask(one, WAIT_SECONDS)) === 0) {
          if (!this.kept.includes(one)) return;
          this.change(this.kept);
          this.events.granted(one);
        }
      } catch (error) {
        if (!mayRepeat(error)) return this.lose(one, error);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
      }
    }
  }

  /** Ask once, and note the lock if it is granted. Returns the place in line, 0 with the lock. */
  private async ask(one: Kept, seconds: number): Promise<number> {
    const body = {
      paths: [{ bucket: one.bucket, path: one.path }],
      request_id: one.request,
      wait_seconds: seconds,
      lease_seconds: LEASE_SECONDS,
      queue: true,
      client: CLIENT,
    };
    const reply = await data(api.POST('/api/v1/locks', { body }));
    if (reply.lock) [one.lock, one.number] = [reply.lock.id, reply.lock.number];
    return reply.lock ? 0 : (reply.waiter?.place ?? 1);
  }

  private lose(one: Kept, error: unknown): void {
    if (!this.kept.includes(one)) return;
    this.change(this.kept.filter((other) => other !== one));
    this.events.lost(one, problemOf(error));
  }

  private change(kept: Kept[]): void {
    this.kept = kept;
    this.storage.setItem(STORED, JSON.stringify(kept));
    for (const listener of this.listeners) listener();
  }
}

function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

