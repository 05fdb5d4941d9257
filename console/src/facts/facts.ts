// What people say about a file, and what has to be sent to change it. No I/O.
import type { components } from '../api/schema';

export type Facts = components['schemas']['FactsReply'];
export type Tag = readonly [key: string, value: string];
export type TagProblem = 'noKey' | 'sameKey';

export interface FactsChange {
  description: string | null;
  tags: Record<string, string | null>;
}

export const MOST_TAGS = 10;

export function tagsOf({ tags }: Pick<Facts, 'tags'>): Tag[] {
  return Object.entries(tags ?? {});
}

/** What is wrong with each row; undefined for those that are right. A row with neither key nor value is no tag. */
export function tagProblems(rows: readonly Tag[]): (TagProblem | undefined)[] {
  const keys = rows.map(([key]) => key.trim());
  return rows.map(([key, value], index) => {
    if (!key.trim()) return value.trim() ? 'noKey' : undefined;
    return keys.indexOf(key.trim()) < index ? 'sameKey' : undefined;
  });
}

/** Only what differs is sent, so that a change that somebody else makes meanwhile stays. Undefined: nothing differs. */
export function factsChange(known: Facts, description: string, rows: readonly Tag[]): FactsChange | undefined {
  const wanted = new Map(rows.map(([key, value]) => [key.trim(), value.trim()] as const).filter(([key]) => key));
  const tags: Record<string, string | null> = {};
  for (const [key, value] of wanted) if (known.tags?.[key] !== value) tags[key] = value;
  for (const key of Object.keys(known.tags ?? {})) if (!wanted.has(key)) tags[key] = null;
  const isSaid = description.trim() !== known.description;
  if (!isSaid && Object.keys(tags).length === 0) return undefined;
  return { description: isSaid ? description.trim() : null, tags };
}
