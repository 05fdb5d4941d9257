import { type QueryClient, useQuery } from '@tanstack/react-query';
import { useMemo, useSyncExternalStore } from 'react';

import { api, data } from '../api/client';
import type { components } from '../api/schema';
import type { Account } from '../session/session';
import { type LockList, LockStream } from './stream';

export type Lock = components['schemas']['LockInfo'];
export type Waiter = components['schemas']['WaiterInfo'];

export interface Locks {
  locks: Lock[];
  waiters: Waiter[];
  lockOn: (bucket: string, path: string) => Lock | undefined;
  /** The account's own place in line for a path. */
  placeFor: (bucket: string, path: string) => Waiter | undefined;
  isPending: boolean;
  error: Error | null;
}

const KEY = ['locks'];
const stream = new LockStream();

/** Let the lists of all parts of the page follow the proxy. Returns what ends it. */
export function followLocks(cache: QueryClient): () => void {
  return stream.start((locks) => {
    void cache.cancelQueries({ queryKey: KEY }); // its reply could be older
    cache.setQueryData<LockList>(KEY, locks);
  });
}

/** Ask for the list again, unless it follows the proxy by itself. */
export async function refreshLocks(cache: QueryClient): Promise<void> {
  if (!stream.isLive()) await cache.invalidateQueries({ queryKey: KEY });
}

/**
 * The locks and the places in line: as they change, or, while the proxy cannot send them, never older than `milliseconds`
 * as long as the page can be seen.
 */
export function useLocks(account: Account, milliseconds: number): Locks {
  const isLive = useSyncExternalStore(stream.subscribe, stream.isLive);
  const found = useQuery({
    queryKey: KEY,
    queryFn: ({ signal }) => data(api.GET('/api/v1/locks', { signal })),
    refetchInterval: (query) => !isLive && (query.state.status === 'error' ? 5000 : milliseconds),
    staleTime: isLive ? Infinity : 0,
  });
  const byPath = useMemo(() => {
    const locks = new Map<string, Lock>();
    for (const lock of found.data?.locks ?? []) for (const path of lock.paths) locks.set(keyOf(path), lock);
    const places = new Map<string, Waiter>();
    for (const waiter of found.data?.waiters ?? []) {
      if (waiter.account === account.name) for (const path of waiter.paths) places.set(keyOf(path), waiter);
    }
    return { locks, places };
  }, [found.data, account.name]);
  return {
    locks: found.data?.locks ?? [],
    waiters: found.data?.waiters ?? [],
    lockOn: (bucket, path) => byPath.locks.get(keyOf({ bucket, path })),
    placeFor: (bucket, path) => byPath.places.get(keyOf({ bucket, path })),
    isPending: found.isPending,
    error: found.error,
  };
}

export function keyOf({ bucket, path }: { bucket: string; path: string }): string {
  return `${bucket}/${path}`;
}

export function pathsText({ paths }: { paths: { bucket: string; path: string }[] }): string {
  return paths.map(keyOf).join(', ');
}
