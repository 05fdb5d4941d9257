import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { LockStream } from './stream';

class FakeSource extends EventTarget {
  closed = false;

  constructor(readonly address: string) {
    super();
    opened.push(this);
  }

  close() {
    this.closed = true;
  }

  send(name: string, data = '{}') {
    this.dispatchEvent(Object.assign(new Event(name), { data }));
  }
}

const opened: FakeSource[] = [];
const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
const last = () => opened[opened.length - 1] as FakeSource;
const open = () => opened.filter(({ closed }) => !closed).length;
const NOTHING = '{"locks":[],"waiters":[]}';

function show(visibilityState: string) {
  page.visibilityState = visibilityState;
  page.dispatchEvent(new Event('visibilitychange'));
}

function begun() {
  const stream = new LockStream();
  const told = vi.fn();
  const stop = stream.start(told);
  return { stream, told, stop };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('EventSource', FakeSource);
  vi.stubGlobal('document', page);
  page.visibilityState = 'visible';
  opened.length = 0;
});
afterEach(() => void vi.useRealTimers());

describe('the stream of locks', () => {
  it('is live from the first list on, and passes each list on', () => {
    const { stream, told, stop } = begun();
    const changed = vi.fn();
    stream.subscribe(changed);
    expect([last().address, stream.isLive()]).toEqual(['/api/v1/locks/events', false]);
    last().send('locks', NOTHING);
    last().send('locks', NOTHING);
    expect(stream.isLive()).toBe(true);
    expect(told).toHaveBeenCalledTimes(2);
    expect(told).toHaveBeenLastCalledWith({ locks: [], waiters: [] });
    expect(changed).toHaveBeenCalledTimes(1);
    stop();
    expect([open(), stream.isLive()]).toEqual([0, false]);
  });

  it('connects again with growing pauses, and soon after it worked', () => {
    const { stream, stop } = begun();
    const pauses: number[] = [];
    for (let tries = 0; tries < 8; tries++) {
      last().send('error');
      expect([open(), stream.isLive()]).toEqual([0, false]);
      const began = Date.now();
      vi.advanceTimersToNextTimer();
      pauses.push(Date.now() - began);
      expect(open()).toBe(1);
    }
    expect(pauses[0]).toBeLessThanOrEqual(1000);
    expect(pauses[3]).toBeGreaterThanOrEqual(4000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(30_000);
    last().send('locks', NOTHING);
    last().send('end');
    vi.advanceTimersByTime(1000);
    expect(open()).toBe(1);
    stop();
  });

  it('does not trust a connection that is silent', () => {
    const { stream, stop } = begun();
    last().send('locks', NOTHING);
    for (let beats = 0; beats < 5; beats++) {
      vi.advanceTimersByTime(10_000);
      last().send('unchanged');
    }
    expect([opened.length, stream.isLive()]).toEqual([1, true]);
    vi.advanceTimersByTime(25_000);
    expect(stream.isLive()).toBe(false);
    vi.advanceTimersByTime(1000);
    expect([opened.length, open()]).toEqual([2, 1]);
    stop();
  });

  it('listens only while the tab can be seen', () => {
    const { stream, stop } = begun();
    last().send('locks', NOTHING);
    show('hidden');
    expect([open(), stream.isLive()]).toEqual([0, false]);
    vi.advanceTimersByTime(60_000);
    expect(opened.length).toBe(1);
    show('visible');
    expect(open()).toBe(1);
    stop();
    show('hidden');
    show('visible');
    vi.advanceTimersByTime(60_000);
    expect(open()).toBe(0);
  });
});
