// Share links: what a person types for a new one, and what the API takes. No React in here.
import { api, data } from '../api/client';
import type { components } from '../api/schema';

export type ShareLink = components['schemas']['ShareLink'];
type NewShare = components['schemas']['NewShare'];

const DAY_SECONDS = 86_400;
const MEGABYTE = 1_000_000;
const MOST_USES = 1_000_000_000;
const PAGE = 1000;

export interface Wish {
  mode: 'read' | 'upload';
  password: string;
  /** For so many days, as a number in letters; empty: until it is revoked. */
  days: string;
  /** How often it may be used; empty: as often as people like. */
  uses: string;
  /** How large an uploaded file may be, in MB; empty: what the API allows. */
  megabytes: string;
  note: string;
}

export const USUAL: Wish = { mode: 'read', password: '', days: '30', uses: '', megabytes: '', note: '' };

/** The link to make. `path` is a folder if it is empty or ends with a slash. */
export function shareOf(bucket: string, path: string, wish: Wish): NewShare {
  return {
    bucket,
    path,
    mode: wish.mode,
    password: wish.password,
    expires_in: wish.days ? Number(wish.days) * DAY_SECONDS : null,
    max_uses: wish.uses ? Number(wish.uses) : null,
    max_bytes: wish.mode === 'upload' && wish.megabytes ? Math.round(Number(wish.megabytes) * MEGABYTE) : null,
    note: wish.note.trim(),
  };
}

/** Whether a number of uses can be one. */
export function isCount(text: string): boolean {
  return text === '' || (/^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= MOST_USES);
}

/** Whether a number of megabytes can be one. */
export function isSize(text: string): boolean {
  return text === '' || (Number(text) > 0 && Number(text) <= 1e9);
}

/** The address that other people open. Every proxy knows it, so this page's own is as good as another. */
export function addressOfLink(token: string): string {
  return `${window.location.origin}/s/${token}`;
}

/** The account's links, newest first; with a bucket those into it, for its owner everybody's. */
export async function listLinks(bucket: string, signal: AbortSignal): Promise<ShareLink[]> {
  const found: ShareLink[] = [];
  let cursor: string | null | undefined = '';
  while (cursor != null) {
    const query = { limit: PAGE, ...(bucket && { bucket }), ...(cursor && { cursor }) };
    const page: components['schemas']['SharesReply'] = await data(
      api.GET('/api/v1/shares', { params: { query }, signal }),
    );
    found.push(...page.shares);
    cursor = page.next_after;
  }
  return found.sort((one, other) => other.created_at - one.created_at);
}

export async function revoke(id: string): Promise<void> {
  await data(api.DELETE('/api/v1/shares/{id}', { params: { path: { id } } }));
}
