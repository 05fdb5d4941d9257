import { describe, expect, it } from 'vitest';

import { isCount, isSize, shareOf, USUAL } from './links';

describe('a new link', () => {
  it('lasts for days, or until it is revoked', () => {
    expect(shareOf('b', 'p/', USUAL)).toMatchObject({ bucket: 'b', path: 'p/', mode: 'read', expires_in: 2_592_000 });
    expect(shareOf('b', 'p/', { ...USUAL, days: '' }).expires_in).toBeNull();
  });

  it('bounds the size only of what is uploaded', () => {
    expect(shareOf('b', 'p/', { ...USUAL, mode: 'upload', megabytes: '2.5' }).max_bytes).toBe(2_500_000);
    expect(shareOf('b', 'p/', { ...USUAL, megabytes: '2.5' }).max_bytes).toBeNull();
  });

  it('is not asked for with numbers that are none', () => {
    expect(['', '1', '1000000000'].map(isCount)).toEqual([true, true, true]);
    expect(['0', '-1', '1.5', 'x', '1e3', '1000000001'].some(isCount)).toBe(false);
    expect([isSize(''), isSize('0.5'), isSize('0'), isSize('x')]).toEqual([true, true, false, false]);
  });
});
