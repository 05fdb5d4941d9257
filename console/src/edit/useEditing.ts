import { useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';

import { Failure } from '../api/failure';
import { keeper } from '../locks/actions';
import { keyOf, useLocks } from '../locks/useLocks';
import type { Account } from '../session/session';
import { load, save } from './content';
import { draftOf, keepDraft } from './drafts';
import { arrived, type Editing, isChanged, NOTHING, saved, settled } from './editing';

const LIVE_MILLISECONDS = 700;

/**
 * `opening`: the file is being loaded, and then its lock asked for. `waiting`: somebody else has the lock. `editing`: it
 * is ours. `lost`: it was ours, and nothing can be saved. `failed`: the file or its lock is not to be had.
 */
export type Stage = 'opening' | 'waiting' | 'editing' | 'lost' | 'failed';

/** One file that is edited in place, under its lock. */
export function useEditing(account: Account, bucket: string, path: string) {
  const cache = useQueryClient();
  const locks = useLocks(account, LIVE_MILLISECONDS);
  const [now, setNow] = useState(NOTHING);
  const [problem, setProblem] = useState<unknown>();
  const [isSaving, setIsSaving] = useState(false);
  const lock = useKeptLock(bucket, path, now);
  const isGone = useRef(false);
  useEffect(() => {
    isGone.current = false;
    return () => void (isGone.current = true);
  }, []);
  const take = useCallback(() => {
    setProblem(undefined);
    keeper.take(bucket, path).then(() => {
      if (isGone.current) void keeper.drop(bucket, path);
    }, setProblem);
  }, [bucket, path]);
  const isLoaded = now.base !== undefined;
  useEffect(() => {
    if (isLoaded && !keeper.find(bucket, path)) take();
  }, [isLoaded, bucket, path, take]);

  // Loaded at once, and again when the lock is ours: the holder before may have saved.
  const isMine = Boolean(lock.id);
  useEffect(() => {
    const ended = new AbortController();
    load(bucket, path, ended.signal).then(
      (loaded) => setNow((before) => arrived(before, loaded, draftOf(sessionStorage, keyOf({ bucket, path })))),
      (error: unknown) => !ended.signal.aborted && setProblem(error),
    );
    return () => ended.abort();
  }, [bucket, path, isMine]);
  useDraft(bucket, path, now);

  async function store(release: boolean): Promise<boolean> {
    const { base, text } = now;
    if (!base || !lock.id || lock.number === undefined) return false;
    setIsSaving(true);
    setProblem(undefined);
    try {
      const tag = await save(bucket, path, { ...base, text }, { number: lock.number, release });
      setNow((before) => saved(before, text, tag));
      if (release) keeper.forget(lock.id);
      void cache.invalidateQueries({ queryKey: ['files', bucket] });
      return true;
    } catch (error) {
      setProblem(error);
      if (error instanceof Failure && error.problem.code === 'lock_stale') void keeper.renew();
      return false;
    } finally {
      setIsSaving(false);
    }
  }
  return {
    ...now,
    isChanged: isChanged(now),
    setText: (text: string) => setNow((before) => ({ ...before, text })),
    settle: (keepsMine: boolean) => setNow((before) => settled(before, keepsMine)),
    stage: stageOf(lock, problem),
    problem,
    isSaving,
    store,
    take,
    holder: locks.lockOn(bucket, path),
    place: locks.placeFor(bucket, path),
  };
}

interface KeptLock {
  /** Empty: in line for it. Undefined: neither. */
  id: string | undefined;
  number: number | undefined;
  wasMine: boolean;
}

/** The lock as this page keeps it. A lock that was taken for editing goes when the page does, unless text is unsaved. */
function useKeptLock(bucket: string, path: string, now: Editing): KeptLock {
  const id = useSyncExternalStore(keeper.subscribe, () => keeper.find(bucket, path)?.lock);
  const number = useSyncExternalStore(keeper.subscribe, () => keeper.find(bucket, path)?.number);
  const [wasMine, setWasMine] = useState(false);
  useEffect(() => {
    if (id) setWasMine(true);
  }, [id]);
  const latest = useRef(now);
  latest.current = now;
  useEffect(() => {
    const hadIt = Boolean(keeper.find(bucket, path)?.lock) && !draftOf(sessionStorage, keyOf({ bucket, path }));
    return () => {
      if (!hadIt && !isChanged(latest.current)) void keeper.drop(bucket, path);
    };
  }, [bucket, path]);
  return { id, number, wasMine };
}

function useDraft(bucket: string, path: string, now: Editing): void {
  useEffect(() => {
    if (!now.base) return;
    const tag = now.newer ? '' : now.base.tag; // until the person has decided, the question comes again
    keepDraft(sessionStorage, keyOf({ bucket, path }), isChanged(now) ? { text: now.text, tag } : undefined);
  }, [bucket, path, now]);
}

function stageOf({ id, wasMine }: KeptLock, problem: unknown): Stage {
  if (id) return 'editing';
  if (id === '') return 'waiting';
  if (wasMine) return 'lost';
  return problem ? 'failed' : 'opening';
}
