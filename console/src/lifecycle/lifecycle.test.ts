import { describe, expect, it } from 'vitest';

import { aboutText, actionTexts, hasOtherAction, NO_WISH, problemsOf, ruleOf, wishOf, withRule } from './lifecycle';
import { de } from './texts.de';
import { en } from './texts.en';

const rule = ruleOf({ prefix: ' logs/ ', expireDays: '30', noncurrentDays: '7', keepNewer: '3', abortDays: '' });

describe('a rule', () => {
  it('is what was typed', () => {
    expect(rule).toMatchObject({ prefix: 'logs/', expire_days: 30, noncurrent_days: 7, keep_newer: 3, abort_uploads_days: null });
    expect(ruleOf(wishOf(rule), rule)).toEqual(rule);
  });

  it('keeps what the form does not show', () => {
    const before = { ...rule, id: 'x', enabled: false, tags: { a: 'b' }, larger_than: 5, drop_markers: true, expire_days: null };
    expect(ruleOf({ ...wishOf(before), abortDays: '1' }, before)).toEqual({ ...before, abort_uploads_days: 1 });
    expect([hasOtherAction(before), hasOtherAction(rule)]).toEqual([true, false]);
  });

  it('replaces itself among the rules, or is added', () => {
    const [one, other] = [{ ...rule, id: 'one' }, { ...rule, id: 'other' }];
    const changed = { ...one, enabled: false };
    expect(withRule([one, other], changed)).toEqual([changed, other]);
    expect(withRule([other], rule)).toEqual([other, rule]);
  });

  it('is said in words', () => {
    expect(aboutText(rule, en, 'en-GB')).toBe('Below “logs/”');
    expect(actionTexts(rule, en, 'en-GB')).toEqual([
      'Files are deleted 30 days after they were written.',
      'Older versions are removed 7 days after they were replaced, except the newest 3.',
    ]);
    const narrow = { ...ruleOf(NO_WISH), tags: { a: 'b' }, smaller_than: 2000, expire_at: 1_893_456_000, drop_markers: true };
    expect(aboutText(narrow, en, 'en-GB')).toBe('All files, with the tag a=b, smaller than 2 kB');
    expect(actionTexts(narrow, en, 'en-GB')[0]).toBe('Files are deleted on 1 Jan 2030.');
    expect(actionTexts({ ...narrow, abort_uploads_days: 1 }, de, 'de-DE')).toHaveLength(3);
  });
});

describe('what is typed', () => {
  it.each([
    [{ expireDays: '30' }, {}],
    [{}, { rule: 'nothing' }],
    [{ expireDays: '0' }, { expireDays: 'days' }],
    [{ expireDays: 'soon' }, { expireDays: 'days' }],
    [{ abortDays: '1.5' }, { abortDays: 'days' }],
    [{ noncurrentDays: '9999999999' }, { noncurrentDays: 'days' }],
    [{ noncurrentDays: '1', keepNewer: '101' }, { keepNewer: 'newer' }],
    [{ expireDays: '1', keepNewer: '5' }, { keepNewer: 'newerAlone' }],
  ])('%j has the problems %j', (wish, problems) => expect(problemsOf({ ...NO_WISH, ...wish }, false)).toEqual(problems));

  it('may be nothing if the rule does something else', () => expect(problemsOf(NO_WISH, true)).toEqual({}));
});
