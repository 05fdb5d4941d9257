// The place in the address, such as /console/files/BUCKET/FOLDER/… or /console/search?q=TEXT.
import { useSyncExternalStore } from 'react';

export type Place =
  | { page: 'files'; bucket: string; folder: string }
  | { page: 'search'; search: Search }
  | { page: 'trash'; bucket: string }
  | { page: 'usage'; bucket: string }
  | { page: 'edit'; bucket: string; path: string }
  | { page: 'account' }
  | { page: 'cluster' }
  | { page: 'admin'; part: AdminPart }
  | { page: 'links' }
  | { page: 'locks' };

export const ADMIN_PARTS = ['accounts', 'groups', 'tenants', 'audit'] as const;
export type AdminPart = (typeof ADMIN_PARTS)[number];

export interface Search {
  text: string;
  /** Empty: every bucket. */
  bucket: string;
  /** The first half of a content type, such as `image`; or a whole one. Empty: any. */
  type: string;
  /** So many days back at most, as a number in letters. Empty: any time. */
  days: string;
}

export const NO_SEARCH: Search = { text: '', bucket: '', type: '', days: '' };

const BASE = '/console';

/** The place that an address names: its path, and what follows a question mark. `folder` is empty or ends with a slash. */
export function placeOf(address: string): Place {
  const [pathname = '', query = ''] = address.split('?', 2);
  const parts = pathname.slice(BASE.length).split('/').filter(Boolean).map(decoded);
  const [first] = parts;
  if (first === 'locks' || first === 'links' || first === 'cluster' || first === 'account') return { page: first };
  if (parts[0] === 'trash' && parts[1]) return { page: 'trash', bucket: parts[1] };
  if (parts[0] === 'usage') return { page: 'usage', bucket: parts[1] ?? '' };
  if (parts[0] === 'edit' && parts[2]) return { page: 'edit', bucket: parts[1] ?? '', path: parts[2] };
  if (parts[0] === 'admin') return { page: 'admin', part: ADMIN_PARTS.find((part) => part === parts[1]) ?? 'accounts' };
  if (parts[0] === 'search') return { page: 'search', search: searchOf(new URLSearchParams(query)) };
  const [, bucket = '', ...folders] = parts[0] === 'files' ? parts : [];
  return { page: 'files', bucket, folder: folders.map((name) => `${name}/`).join('') };
}

/** The address of a place; the opposite of `placeOf`. */
export function addressOf(place: Place): string {
  switch (place.page) {
    case 'account':
    case 'cluster':
    case 'links':
    case 'locks':
      return `${BASE}/${place.page}`;
    case 'admin':
      return `${BASE}/admin/${place.part}`;
    case 'edit': // the path is one part: it may have empty names
      return [BASE, 'edit', place.bucket, place.path].map((part, index) => (index ? encodeURIComponent(part) : part)).join('/');
    case 'trash':
      return `${BASE}/trash/${encodeURIComponent(place.bucket)}`;
    case 'usage':
      return place.bucket ? `${BASE}/usage/${encodeURIComponent(place.bucket)}` : `${BASE}/usage`;
    case 'search':
      return withQuery(`${BASE}/search`, {
        q: place.search.text,
        bucket: place.search.bucket,
        type: place.search.type,
        days: place.search.days,
      });
    case 'files': {
      const names = [place.bucket, ...place.folder.split('/')].filter(Boolean);
      return [BASE, 'files', ...names.map(encodeURIComponent)].join('/');
    }
  }
}

/** Show a place. With `replace`, the present one is not kept for the browser's Back. */
export function goTo(place: Place, { replace = false } = {}): void {
  if (replace) window.history.replaceState(null, '', addressOf(place));
  else window.history.pushState(null, '', addressOf(place));
  window.dispatchEvent(new PopStateEvent('popstate'));
}

export function usePlace(): Place {
  return placeOf(useSyncExternalStore(subscribe, () => window.location.pathname + window.location.search));
}

function subscribe(changed: () => void): () => void {
  window.addEventListener('popstate', changed);
  return () => window.removeEventListener('popstate', changed);
}

function searchOf(query: URLSearchParams): Search {
  return {
    text: query.get('q') ?? '',
    bucket: query.get('bucket') ?? '',
    type: query.get('type') ?? '',
    days: query.get('days') ?? '',
  };
}

function withQuery(path: string, values: Record<string, string>): string {
  const given = Object.entries(values).filter(([, value]) => value);
  return given.length > 0 ? `${path}?${new URLSearchParams(given).toString()}` : path;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
