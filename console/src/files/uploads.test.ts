import { describe, expect, it } from 'vitest';

import { failure } from '../api/failure';
import { type Send, type Upload, Uploads } from './uploads';

/** Uploads whose sending the test ends by hand. */
class Hands {
  readonly begun: { upload: Upload; replace: boolean; report: (share: number) => void; signal: AbortSignal }[] = [];
  private readonly ends: { resolve: () => void; reject: (error: Error) => void }[] = [];
  readonly uploads: Uploads;

  constructor() {
    const send: Send = (upload, replace, report, signal) =>
      new Promise((resolve, reject) => {
        this.begun.push({ upload, replace, report, signal });
        this.ends.push({ resolve, reject });
      });
    this.uploads = new Uploads(send);
  }

  add(...names: string[]) {
    this.uploads.add('files', names.map((path) => ({ path, file: new File(['x'], path) })));
  }

  async end(index: number, error?: Error) {
    if (error) this.ends[index]?.reject(error);
    else this.ends[index]?.resolve();
    await new Promise((resolve) => setTimeout(resolve));
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
    expect(hands.begun.map(({ upload }) => upload.path)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('reports how far a file is', () => {
    const hands = new Hands();
    hands.add('a');
    hands.begun[0]?.report(0.4);
    expect(hands.uploads.list()[0]?.progress).toBe(0.4);
  });

  it('never replaces a file unasked', async () => {
    const hands = new Hands();
    hands.add('a');
    expect(hands.begun[0]?.replace).toBe(false);
    await hands.end(0, failure(412, { code: 'precondition_failed' }));
    expect(hands.states).toEqual(['exists']);
    hands.uploads.repeat(hands.uploads.list()[0]?.id ?? 0, true);
    expect(hands.begun[1]?.replace).toBe(true);
    await hands.end(1);
    expect(hands.states).toEqual(['done']);
  });

  it('keeps the reason of a failure, and goes on with the others', async () => {
    const hands = new Hands();
    hands.add('a', 'b');
    await hands.end(0, failure(423, { code: 'locked', holder: 'ben' }));
    expect(hands.states).toEqual(['failed', 'sending']);
    expect(hands.uploads.list()[0]?.problem?.problem.holder).toBe('ben');
  });

  it('stops one that is under way, and one that waits', async () => {
    const hands = new Hands();
    hands.add('a', 'b', 'c', 'd');
    const [first, , , last] = hands.uploads.list();
    hands.uploads.stop(first?.id ?? 0);
    hands.uploads.stop(last?.id ?? 0);
    expect(hands.begun[0]?.signal.aborted).toBe(true);
    await hands.end(0, failure(0, undefined));
    expect(hands.states).toEqual(['stopped', 'sending', 'sending', 'stopped']);
    expect(hands.begun).toHaveLength(3);
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
