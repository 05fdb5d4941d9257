import { describe, expect, it } from 'vitest';

import { type Amount, byAge, dateText, largest, lineOf, pointsOf, sampled } from './usage';

const amount = (name: string, files: number, file_bytes: number, versions = files, version_bytes = file_bytes): Amount => ({
  ...{ name, files, file_bytes, versions, version_bytes },
});

describe('bars', () => {
  const amounts = [amount('a', 1, 10, 5, 100), amount('b', 2, 40, 2, 40), amount('c', 3, 20), amount('d', 0, 0, 1, 5)];

  it('are the largest, and the others as one', () => {
    expect(largest(amounts, 'files', 2)).toEqual([
      { name: 'b', count: 2, bytes: 40, share: 1 },
      { name: 'c', count: 3, bytes: 20, share: 0.5 },
      { name: undefined, count: 1, bytes: 10, share: 0.25 },
    ]);
  });

  it('count versions, too, and leave out what has none', () => {
    expect(largest(amounts, 'versions', 9).map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd']);
    expect(largest(amounts, 'files', 9).map(({ name }) => name)).toEqual(['b', 'c', 'a']);
    expect(largest([amount('empty', 1, 0)], 'files', 9)[0]?.share).toBe(0);
  });

  it('of months begin with the newest', () => {
    const months = [amount('2026-01', 1, 3), amount('2026-02', 1, 1), amount('2026-03', 1, 2)];
    expect(byAge(months, 'files', 2).map(({ name, bytes }) => [name, bytes])).toEqual([
      ['2026-03', 2],
      ['2026-02', 1],
      [undefined, 3],
    ]);
  });
});

describe('growth', () => {
  const points = pointsOf([amount('2026-03-01', 1, 0), amount('2026-03-02', 1, 5), amount('2026-03-03', 1, 10)], 'files');

  it('is a line from zero', () => {
    expect(lineOf(points, 100, 50)).toBe('M0,50L50,25L100,0');
    expect(lineOf(points.slice(2), 100, 50)).toBe('M0,0H100');
    expect(lineOf([{ day: '2026-03-01', bytes: 0 }], 100, 50)).toBe('M0,50H100');
  });

  it('is told in a few rows, the first and the last among them', () => {
    const many = Array.from({ length: 365 }, (_, bytes) => ({ day: String(bytes), bytes }));
    const told = sampled(many, 12);
    expect([told.length, told[0]?.bytes, told.at(-1)?.bytes]).toEqual([12, 0, 364]);
    expect(sampled(points, 12)).toEqual(points);
  });
});

describe('a date', () => {
  it.each([
    ['2026-03', 'March 2026'],
    ['2026-03-09', '9 Mar 2026'],
  ])('%s is %s', (name, text) => expect(dateText(name, 'en-GB')).toBe(text));
});
