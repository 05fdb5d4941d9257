import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useMemo } from 'react';

import { api, data } from '../api/client';
import type { components } from '../api/schema';
import type { Account } from '../session/session';

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
  refresh: () => Promise<void>;
}

const KEY = ['locks'];

/** The locks and the places in line, never older than `milliseconds` while the page can be seen. */
export function useLocks(account: Account, milliseconds: number): Locks {
  const cache = useQueryClient();
  const found = useQuery({
    queryKey: KEY,
    queryFn: ({ signal }) => data(api.GET('/api/v1/locks', { signal })),
    refetchInterval: (query) => (query.state.status === 'error' ? 5000 : milliseconds),
    staleTime: 0,
  });
  const refresh = useCallback(() => cache.invalidateQueries({ queryKey: KEY }), [cache]);
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
    refresh,
  };
}

export function keyOf({ bucket, path }: { bucket: string; path: string }): string {
  return `${bucket}/${path}`;
}

export function pathsText({ paths }: { paths: { bucket: string; path: string }[] }): string {
  return paths.map(keyOf).join(', ');
}
