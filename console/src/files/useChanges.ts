import { type InfiniteData, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';

import { api, data } from '../api/client';

const WAIT_SECONDS = 25;
const PAUSE_MILLISECONDS = 5000;

/** Beyond so many pages, loading all of them again for each change would cost more than it shows. */
const MOST_PAGES = 20;

/**
 * Load the shown folder again when the journal has a change in it, made through any proxy. `isLoaded`: its list is there,
 * because a change that comes while it is being loaded would be lost.
 */
export function useChanges(bucket: string, folder: string, isLoaded: boolean): void {
  const cache = useQueryClient();
  useEffect(() => {
    if (!isLoaded) return;
    const ended = new AbortController();
    void follow(bucket, ended.signal, (paths) => {
      const queryKey = ['files', bucket, folder];
      const pages = cache.getQueryData<InfiniteData<unknown>>(queryKey)?.pages.length ?? 0;
      const isMeant = paths === 'unknown' || paths.some((path) => path.startsWith(folder));
      if (isMeant && pages <= MOST_PAGES) void cache.invalidateQueries({ queryKey });
    });
    return () => ended.abort();
  }, [bucket, folder, isLoaded, cache]);
}

type Tell = (paths: string[] | 'unknown') => void;

async function follow(bucket: string, signal: AbortSignal, tell: Tell): Promise<void> {
  let cursor: number | undefined;
  while (!signal.aborted) {
    try {
      await untilVisible(signal);
      const first = cursor === undefined;
      const query = first ? { bucket } : { bucket, cursor, wait: WAIT_SECONDS };
      const reply = await data(api.GET('/api/v1/changes', { params: { query }, signal }));
      cursor = reply.cursor;
      // What was committed after the list was loaded and before the first cursor is in no later reply.
      if (first) tell('unknown');
      else if (reply.changes.length > 0) tell(reply.changes.map(({ path }) => path));
    } catch {
      // An older backup was restored, or the proxy is busy or away: begin again from what is there then.
      cursor = undefined;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
    }
  }
}

/** A hidden tab asks for nothing: browsers open only six connections to a proxy. */
function untilVisible(signal: AbortSignal): Promise<void> {
  if (document.visibilityState === 'visible') return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener('visibilitychange', () => resolve(), { once: true, signal });
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
