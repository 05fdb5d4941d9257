// What an administrator types for quotas, and what the API takes. No I/O.
import type { components } from '../api/schema';

type Quota = components['schemas']['QuotaInfo'];

/** Whether a text can be a quota: a whole number, or nothing for none. */
export function isQuota(text: string): boolean {
  return /^\d{0,15}$/.test(text.trim());
}

/** The quotas to send: those whose text differs from what is set. Null removes one. */
export function changedQuotas(
  set: readonly Quota[],
  wishes: Partial<Record<Quota['resource'], string>>,
): Partial<Record<Quota['resource'], number | null>> {
  const changes: Partial<Record<Quota['resource'], number | null>> = {};
  for (const { resource, allowed, built_in: isBuiltIn } of set) {
    const wish = wishes[resource]?.trim();
    if (wish === undefined) continue;
    const wanted = wish === '' ? null : Number(wish);
    if (wanted !== (isBuiltIn ? null : allowed)) changes[resource] = wanted;
  }
  return changes;
}
