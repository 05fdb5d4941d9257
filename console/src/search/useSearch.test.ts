import { describe, expect, it } from 'vitest';

import { NO_SEARCH } from '../router';
import { queryOf, wants } from './useSearch';

const NOON = Date.UTC(2026, 2, 8, 12);

describe('a search', () => {
  it('sends only what the person has given', () => {
    expect(queryOf({ ...NO_SEARCH, text: '  roof plan ' }, NOON)).toEqual({ q: 'roof plan' });
    expect(queryOf({ text: '', bucket: 'b', type: 'image', days: '7' }, NOON)).toEqual({
      bucket: 'b',
      type: 'image',
      since: '2026-03-01T12:00:00Z',
    });
  });

  it('asks for no time that an address made up', () => {
    expect(queryOf({ ...NO_SEARCH, days: 'x' }, NOON)).toEqual({});
  });

  it('of a bucket alone is none', () => {
    expect(wants({ ...NO_SEARCH, text: ' ', bucket: 'b' })).toBe(false);
    expect([wants({ ...NO_SEARCH, text: 'r' }), wants({ ...NO_SEARCH, type: 'image' })]).toEqual([true, true]);
  });
});
