import { describe, expect, it } from 'vitest';

import { failure } from '../api/failure';
import type { Listener, Sending } from '../transfer/sending';
import { type Send, shareSent, Uploads } from './uploads';

const MANIFEST = { entries: new Uint8Array(36), digest: 'ab' };
const LOST = failure(0, undefined);

/** Uploads whose sending the test ends by hand. */
class Hands {
  readonly begun: { sending: Sending; listener: Listener; signal: AbortSignal }[] = [];
  readonly pauses: number[] = [];
  readonly uploads: Uploads;
  private readonly ends: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor() {
    const send: Send = (sending, listener, signal) =>
      new Promise((resolve, reject) => {
        this.begun.push({ sending, listener, signal });
        this.ends.push({ resolve, reject });
      });
    this.uploads = new Uploads(send, async (seconds) => void this.pauses.push(seconds));
  }

  add(...names: string[]) {
    this.uploads.add('files', names.map((path) => ({ path, file: new File(['x'], path) })));
  }

  async end(index: number, error?: Error) {
    if (error) this.ends[index]?.reject(error);
    else this.ends[index]?.resolve();
    await new Promise((resolve) => setTimeout(resolve));
  }

  id(index: number) {
    return this.uploads.list()[index]?.id ?? 0;
  }

  get states() {
    return this.uploads.list().map(({ state }) => state);
  }
}

describe('uploads', () => {
  it('sends three at a time, and the next when one is done', async () => {
    const hands = new Hands();
    hands.add('a', 'b', 'c', 'd');
    expect(hands.states).toEqual(['sending', 'sending', 'sending', 'waiting']);
    await hands.end(1);
    expect(hands.states).toEqual(['sending', 'done', 'sending', 'sending']);
    expect(hands.begun.map(({ sending }) => sending.path)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('reports how far a file is, and all of them', async () => {
    const hands = new Hands();
    hands.add('a', 'b');
    hands.begun[0]?.listener.onCut(0.6);
    expect(hands.states).toEqual(['cutting', 'sending']);
    expect(shareSent(hands.uploads.list())).toBe(0);
    hands.begun[0]?.listener.onManifest(MANIFEST);
    hands.begun[0]?.listener.onSent(0.4);
    await hands.end(1);
    expect(hands.uploads.list()[0]).toMatchObject({ state: 'sending', progress: 0.4 });
    expect(shareSent(hands.uploads.list())).toBeCloseTo(0.7);
  });

  it('never replaces a file unasked', async () => {
    const hands = new Hands();
    hands.add('a');
    expect(hands.begun[0]?.sending.replace).toBe(false);
    await hands.end(0, failure(412, { code: 'precondition_failed' }));
    expect(hands.states).toEqual(['exists']);
    hands.uploads.resume(hands.id(0), true);
    expect(hands.begun[1]?.sending).toMatchObject({ replace: true, wasCut: false });
    await hands.end(1);
    expect(hands.states).toEqual(['done']);
  });

  it.each([
    [423, 'locked'],
    [507, 'quota_exceeded'],
    [401, 'not_logged_in'],
    [400, 'bad_request'],
  ])('keeps the reason of a refusal (%i), goes on with the others, and can be repeated', async (status, code) => {
    const hands = new Hands();
    hands.add('a', 'b');
    await hands.end(0, failure(status, { code, holder: 'ben' }));
    expect(hands.states).toEqual(['failed', 'sending']);
    expect(hands.uploads.list()[0]?.problem?.problem).toMatchObject({ code, holder: 'ben' });
    hands.uploads.resume(hands.id(0), false);
    expect(hands.states).toEqual(['sending', 'sending']);
    expect(hands.uploads.list()[0]?.problem).toBeUndefined();
  });

  it('goes on by itself, with growing pauses, while the proxy does not answer', async () => {
    const hands = new Hands();
    hands.add('a');
    hands.begun[0]?.listener.onManifest(MANIFEST);
    for (let attempt = 0; attempt < 7; attempt++) await hands.end(attempt, attempt % 2 ? failure(503, {}) : LOST);
    expect(hands.pauses).toEqual([1, 2, 4, 8, 15, 30, 30]);
    expect(hands.begun.at(-1)?.sending).toMatchObject({ manifest: MANIFEST, wasCut: true });
    await hands.end(7);
    expect(hands.states).toEqual(['done']);
  });

  it('says that it waits for the proxy, and can be paused then', async () => {
    let goOn = () => {};
    const send: Send = () => Promise.reject(LOST);
    const uploads = new Uploads(send, (_, signal) => new Promise((resolve) => {
      goOn = resolve;
      signal.addEventListener('abort', () => resolve());
    }));
    uploads.add('files', [{ path: 'a', file: new File(['x'], 'a') }]);
    await new Promise((resolve) => setTimeout(resolve));
    expect(uploads.list()[0]).toMatchObject({ state: 'retrying', problem: { problem: { code: 'unreachable' } } });
    expect(uploads.isActive).toBe(true);
    uploads.pause(uploads.list()[0]?.id ?? 0);
    goOn();
    await new Promise((resolve) => setTimeout(resolve));
    expect(uploads.list()[0]?.state).toBe('paused');
  });

  it('pauses one that is under way and one that waits, and goes on with what is known', async () => {
    const hands = new Hands();
    hands.add('a', 'b', 'c', 'd');
    hands.begun[0]?.listener.onManifest(MANIFEST);
    hands.uploads.pause(hands.id(0));
    hands.uploads.pause(hands.id(3));
    expect(hands.begun[0]?.signal.aborted).toBe(true);
    await hands.end(0, LOST);
    expect(hands.states).toEqual(['paused', 'sending', 'sending', 'paused']);
    expect(hands.begun).toHaveLength(3);
    hands.uploads.resume(hands.id(0), false);
    expect(hands.begun[3]?.sending).toMatchObject({ path: 'a', manifest: MANIFEST, wasCut: true });
  });

  it('does not send a file twice that goes on before its end', async () => {
    const hands = new Hands();
    hands.add('a');
    hands.uploads.pause(hands.id(0));
    hands.uploads.resume(hands.id(0), false);
    expect(hands.begun).toHaveLength(1);
    await hands.end(0, LOST);
    expect(hands.states).toEqual(['sending']);
    expect(hands.begun).toHaveLength(2);
  });

  it('clears what is over and nothing else', async () => {
    const hands = new Hands();
    hands.add('a', 'b');
    await hands.end(0);
    hands.uploads.clear();
    expect(hands.uploads.list().map(({ path }) => path)).toEqual(['b']);
    expect(hands.uploads.isActive).toBe(true);
  });
});
