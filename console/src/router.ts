// The place in the address: /console/files/BUCKET/FOLDER/…/ and /console/locks.
import { useSyncExternalStore } from 'react';

export type Place = { page: 'files'; bucket: string; folder: string } | { page: 'locks' };

const BASE = '/console';

/** The place that a path of the address names. `folder` is empty or ends with a slash. */
export function placeOf(pathname: string): Place {
  const parts = pathname.slice(BASE.length).split('/').filter(Boolean).map(decoded);
  if (parts[0] === 'locks') return { page: 'locks' };
  const [, bucket = '', ...folders] = parts[0] === 'files' ? parts : [];
  return { page: 'files', bucket, folder: folders.map((name) => `${name}/`).join('') };
}

/** The address of a place; the opposite of `placeOf`. */
export function addressOf(place: Place): string {
  if (place.page === 'locks') return `${BASE}/locks`;
  const names = [place.bucket, ...place.folder.split('/')].filter(Boolean);
  return [BASE, 'files', ...names.map(encodeURIComponent)].join('/');
}

export function goTo(place: Place): void {
  window.history.pushState(null, '', addressOf(place));
  window.dispatchEvent(new PopStateEvent('popstate'));
}

export function usePlace(): Place {
  const pathname = useSyncExternalStore(subscribe, () => window.location.pathname);
  return placeOf(pathname);
}

function subscribe(changed: () => void): () => void {
  window.addEventListener('popstate', changed);
  return () => window.removeEventListener('popstate', changed);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
