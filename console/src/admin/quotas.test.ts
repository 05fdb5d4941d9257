import { describe, expect, it } from 'vitest';

import { changedQuotas, isQuota } from './quotas';
import { de } from './texts.de';
import { en } from './texts.en';

const set = [
  { resource: 'bytes' as const, allowed: 100, used: 7, built_in: false },
  { resource: 'files' as const, allowed: null, used: null, built_in: false },
  { resource: 'locks' as const, allowed: 5000, used: 0, built_in: true },
];

describe('quotas', () => {
  it('are whole numbers, or nothing', () => {
    expect(['', '0', ' 12 ', '123456789012345'].every(isQuota)).toBe(true);
    expect(['-1', '1.5', '1e3', '10 GB', '1234567890123456'].some(isQuota)).toBe(false);
  });

  it('are sent only where they change', () => {
    expect(changedQuotas(set, {})).toEqual({});
    expect(changedQuotas(set, { bytes: '100', files: '', locks: '' })).toEqual({});
    expect(changedQuotas(set, { bytes: '', files: '0', locks: '9' })).toEqual({ bytes: null, files: 0, locks: 9 });
  });

  it('have a name for each resource in every language', () => {
    for (const texts of [en, de]) for (const { resource } of set) expect(texts.resources[resource]).toBeTruthy();
  });
});
