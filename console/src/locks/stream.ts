// Listens for the locks as server-sent events, as long as the tab can be seen. No React in here.
//
// A hidden tab does not listen: browsers open only six connections to a proxy, and one account has eight places there.
import type { components } from '../api/schema';

export type LockList = components['schemas']['LocksReply'];

const ADDRESS = '/api/v1/locks/events';
const FIRST_PAUSE_MILLISECONDS = 1000;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** The proxy sends something every ten seconds. A connection can die without a word, for example while a laptop sleeps. */
const SILENCE_MILLISECONDS = 25_000;

export class LockStream {
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private pause = FIRST_PAUSE_MILLISECONDS;
  private live = false;
  private tell: (locks: LockList) => void = () => {};
  private readonly listeners = new Set<() => void>();

  /** Whether every change arrives by itself now. */
  readonly isLive = (): boolean => this.live;

  /** Call `listener` when that changes. Returns what ends it. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Listen, and call `tell` with each list. Returns what ends it. */
  start(tell: (locks: LockList) => void): () => void {
    this.tell = tell;
    document.addEventListener('visibilitychange', this.follow);
    this.follow();
    return () => {
      document.removeEventListener('visibilitychange', this.follow);
      this.close();
    };
  }

  private readonly follow = (): void => {
    this.close();
    this.pause = FIRST_PAUSE_MILLISECONDS;
    if (document.visibilityState === 'visible') this.open();
  };

  private open(): void {
    const source = new EventSource(ADDRESS);
    this.source = source;
    source.addEventListener('locks', ({ data }: MessageEvent<string>) => {
      this.heard();
      this.tell(JSON.parse(data) as LockList);
    });
    source.addEventListener('unchanged', () => this.heard());
    source.addEventListener('end', this.again);
    source.addEventListener('error', this.again);
    this.expectWithin(SILENCE_MILLISECONDS, this.again);
  }

  private heard(): void {
    this.pause = FIRST_PAUSE_MILLISECONDS;
    this.expectWithin(SILENCE_MILLISECONDS, this.again);
    this.set(true);
  }

  /** Connect again, later each time. The browser would try without end, and never where it was refused. */
  private readonly again = (): void => {
    this.close();
    this.expectWithin(this.pause * (0.5 + Math.random() / 2), () => this.open());
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MILLISECONDS);
  };

  private close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
    this.set(false);
  }

  private expectWithin(milliseconds: number, otherwise: () => void): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(otherwise, milliseconds);
  }

  private set(live: boolean): void {
    if (this.live === live) return;
    this.live = live;
    for (const listener of this.listeners) listener();
  }
}
