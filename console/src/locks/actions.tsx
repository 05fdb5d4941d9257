// What a person does with locks, for every part of the page.
import { useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, useContext, useEffect, useMemo } from 'react';

import { api, data } from '../api/client';
import { heldLocks } from '../files/uploads';
import type { Account } from '../session/session';
import { useNotices } from '../shell/notices';
import { useTexts } from '../texts';
import { Keeper } from './keeper';
import { followLocks, keyOf, type Lock, refreshLocks, useLocks, type Waiter } from './useLocks';

export const keeper = new Keeper(sessionStorage);
const WATCH_MILLISECONDS = 2000;

interface LockActions {
  take: (bucket: string, path: string) => Promise<void>;
  release: (lock: Lock) => Promise<void>;
  giveUp: (waiter: Waiter) => Promise<void>;
}

const Context = createContext<LockActions | undefined>(undefined);

export function useLockActions(): LockActions {
  return useContext(Context) as LockActions;
}

/** Keeps this page's locks while the account is signed in, and tells the person what happens to them. */
export function LockActionsProvider({ account, children }: { account: Account; children: ReactNode }) {
  const texts = useTexts();
  const { say, warn, complain } = useNotices();
  const cache = useQueryClient();
  const locks = useLocks(account, WATCH_MILLISECONDS);
  useNewWaiters(account, locks.locks, locks.waiters);
  useEffect(() => followLocks(cache), [cache]);
  useEffect(() => {
    const mine = locks.locks.filter((lock) => lock.account === account.name);
    const numbers = new Map(mine.flatMap((lock) => lock.paths.map((path) => [keyOf(path), lock.number] as const)));
    heldLocks.numberOf = (bucket, path) => numbers.get(keyOf({ bucket, path }));
  }, [locks.locks, account.name]);
  useEffect(() => {
    if (!locks.isPending) keeper.check(new Set(locks.locks.map(({ id }) => id)));
  }, [locks.locks, locks.isPending]);
  useEffect(
    () =>
      keeper.start({
        granted: (kept) => {
          say(texts.locks.yours(keyOf(kept)));
          void refreshLocks(cache);
        },
        waiting: (kept, place) => say(texts.locks.inLine(keyOf(kept), place)),
        lost: (kept, { brokenBy, reason }) => {
          const path = keyOf(kept);
          if (brokenBy === undefined) say(texts.locks.lost(path));
          else warn(texts.locks.broken(path, brokenBy, reason));
        },
      }),
    [say, warn, texts, cache],
  );
  const actions = useMemo(() => {
    async function done<T>(what: Promise<T>): Promise<void> {
      await what.catch(complain);
      await refreshLocks(cache);
    }
    async function drop(id: string) {
      keeper.forget(id);
      await data(api.DELETE('/api/v1/locks/{id}', { params: { path: { id } } }));
    }
    return {
      take: (bucket: string, path: string) => done(keeper.take(bucket, path)),
      release: (lock: Lock) => done(drop(lock.id)),
      giveUp: (waiter: Waiter) => done(drop(waiter.id)),
    };
  }, [cache, complain]);
  return <Context value={actions}>{children}</Context>;
}

const told = new Set<string>();

/** Tell the holder of a lock when somebody gets in line for it. */
function useNewWaiters(account: Account, locks: Lock[], waiters: Waiter[]): void {
  const texts = useTexts();
  const { say } = useNotices();
  useEffect(() => {
    const mine = new Set(locks.filter((lock) => lock.account === account.name).flatMap(({ paths }) => paths.map(keyOf)));
    for (const waiter of waiters) {
      const wanted = waiter.paths.map(keyOf).find((path) => mine.has(path));
      if (wanted === undefined || waiter.account === account.name || told.has(waiter.id)) continue;
      told.add(waiter.id);
      say(texts.locks.wanted(waiter.account, wanted));
    }
  }, [account.name, locks, waiters, say, texts]);
}
