import { describe, expect, it, vi } from 'vitest';

import { failure, mayRepeat } from '../api/failure';
import { de } from './de';
import { en } from './en';
import { bestLanguage, words } from './index';

vi.stubGlobal('localStorage', { getItem: () => null });

describe('the language', () => {
  it.each([
    [['', 'de-AT', 'en'], 'de'],
    [['fr', 'en-GB', 'de'], 'en'],
    [['fr'], 'en'],
    [['de', 'en'], 'de'],
  ])('of %j is %s', (wanted, language) => expect(bestLanguage(wanted)).toBe(language));

  it('has no text that stayed English by mistake', () => {
    const same = Object.keys(en.files).filter((key) => {
      const [one, other] = [en.files[key as keyof typeof en.files], de.files[key as keyof typeof de.files]];
      return typeof one === 'string' && one === other && one !== 'Buckets';
    });
    expect(same).toEqual([]);
  });
});

describe('an error in words', () => {
  it('names the holder of a lock', () => {
    const locked = failure(423, { code: 'locked', detail: '…', holder: 'ben' });
    expect(words(locked, en)).toContain('ben');
    expect(words(locked, de)).toContain('Gesperrt von ben');
  });

  it('is the API’s own sentence in English', () => {
    expect(words(failure(409, { code: 'deadlock', detail: 'waiting would close a cycle' }), en)).toBe(
      'Waiting would close a cycle',
    );
  });

  it('says so when nobody answers, and only then and in a server’s trouble is repeated', () => {
    expect(words(failure(0, undefined), en)).toContain('does not answer');
    expect([0, 429, 503].map((status) => mayRepeat(failure(status, {})))).toEqual([true, true, true]);
    expect([400, 403, 404, 409, 423].some((status) => mayRepeat(failure(status, {})))).toBe(false);
    expect(mayRepeat(new Error('a fault of the page'))).toBe(false);
  });
});
