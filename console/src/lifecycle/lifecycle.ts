// The rules of a bucket's lifecycle: what the form edits of one, and how a rule is said. No I/O.
import type { components } from '../api/schema';
import { sizeText } from '../files/format';
import type { LifecycleTexts } from './texts';

export type Rule = components['schemas']['LifecyclePlan'];

/** What the form edits, as it is typed. */
export interface Wish {
  prefix: string;
  expireDays: string;
  noncurrentDays: string;
  keepNewer: string;
  abortDays: string;
}

export type WishProblem = 'days' | 'newer' | 'newerAlone' | 'nothing';

const MOST_DAYS = 2 ** 31 - 1;
const MOST_NEWER = 100;

export const NO_WISH: Wish = { prefix: '', expireDays: '', noncurrentDays: '', keepNewer: '', abortDays: '' };

export function wishOf(rule: Rule): Wish {
  const text = (value: number | null | undefined) => (value == null ? '' : String(value));
  return {
    prefix: rule.prefix ?? '',
    expireDays: text(rule.expire_days),
    noncurrentDays: text(rule.noncurrent_days),
    keepNewer: text(rule.keep_newer),
    abortDays: text(rule.abort_uploads_days),
  };
}

/** What is wrong with each field; `rule`: with all of them together. `other`: the rule has an action beside the form's. */
export function problemsOf(wish: Wish, hasOther: boolean): Partial<Record<keyof Wish | 'rule', WishProblem>> {
  const found: Partial<Record<keyof Wish | 'rule', WishProblem>> = {};
  for (const name of ['expireDays', 'noncurrentDays', 'abortDays'] as const) {
    if (!isCount(wish[name], MOST_DAYS)) found[name] = 'days';
  }
  if (!isCount(wish.keepNewer, MOST_NEWER)) found.keepNewer = 'newer';
  else if (wish.keepNewer.trim() && !wish.noncurrentDays.trim()) found.keepNewer = 'newerAlone';
  const isEmpty = ![wish.expireDays, wish.noncurrentDays, wish.abortDays].some((text) => text.trim());
  if (isEmpty && !hasOther && !found.keepNewer) found.rule = 'nothing';
  return found;
}

/** Whether a rule does something that the form does not show. */
export function hasOtherAction({ expire_at: at, drop_markers: dropsMarkers }: Pick<Rule, 'expire_at' | 'drop_markers'>): boolean {
  return at != null || Boolean(dropsMarkers);
}

/** The rule with what was typed; its other conditions and actions stay. */
export function ruleOf(wish: Wish, before: Partial<Rule> = {}): Rule {
  const count = (text: string) => (text.trim() ? Number(text) : null);
  return {
    ...{ id: '', enabled: true, tags: {}, larger_than: null, smaller_than: null, expire_at: null, drop_markers: false },
    ...before,
    prefix: wish.prefix.trim(),
    expire_days: count(wish.expireDays),
    noncurrent_days: count(wish.noncurrentDays),
    keep_newer: count(wish.keepNewer),
    abort_uploads_days: count(wish.abortDays),
  };
}

/** The rules with this one in place of that with its id; or beside them, if it is new or somebody has deleted it. */
export function withRule(rules: readonly Rule[], rule: Rule): Rule[] {
  const isKnown = rules.some(({ id }) => id === rule.id);
  return isKnown ? rules.map((one) => (one.id === rule.id ? rule : one)) : [...rules, rule];
}

/** Which files a rule is about, in words. */
export function aboutText(rule: Rule, own: LifecycleTexts, locale: string): string {
  const tags = Object.entries(rule.tags ?? {}).map(([key, value]) => `${key}=${value}`);
  const conditions = [
    rule.prefix ? own.below(rule.prefix) : own.everything,
    tags.length > 0 && own.tagged(tags.join(', ')),
    rule.larger_than != null && own.larger(sizeText(rule.larger_than, locale)),
    rule.smaller_than != null && own.smaller(sizeText(rule.smaller_than, locale)),
  ];
  return conditions.filter(Boolean).join(', ');
}

/** What a rule does, in words. */
export function actionTexts(rule: Rule, own: LifecycleTexts, locale: string): string[] {
  const { expire_days: days, expire_at: at, noncurrent_days: old, keep_newer: kept, abort_uploads_days: uploads } = rule;
  const day = (seconds: number) =>
    new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeZone: 'UTC' }).format(seconds * 1000);
  return [
    days != null && own.expires(days),
    at != null && own.expiresAt(day(at)),
    rule.drop_markers && own.dropsMarkers,
    old != null && own.removesOld(old, kept ?? 0),
    uploads != null && own.aborts(uploads),
  ].filter((text) => typeof text === 'string');
}

function isCount(text: string, most: number): boolean {
  const trimmed = text.trim();
  return trimmed === '' || (/^\d{1,10}$/.test(trimmed) && Number(trimmed) >= 1 && Number(trimmed) <= most);
}
