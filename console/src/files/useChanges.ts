import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';

import { api, data } from '../api/client';

const WAIT_SECONDS = 25;
const PAUSE_MILLISECONDS = 5000;

/** Load the shown folder again when the journal has a change in it, made through any proxy. */
export function useChanges(bucket: string, folder: string): void {
  const cache = useQueryClient();
  useEffect(() => {
    const ended = new AbortController();
    void follow(bucket, ended.signal, (paths) => {
      if (paths.some((path) => path.startsWith(folder))) {
        void cache.invalidateQueries({ queryKey: ['files', bucket, folder] });
      }
    });
    return () => ended.abort();
  }, [bucket, folder, cache]);
}

async function follow(bucket: string, signal: AbortSignal, tell: (paths: string[]) => void): Promise<void> {
  let cursor: number | undefined;
  while (!signal.aborted) {
    try {
      await untilVisible(signal);
      const first = cursor === undefined;
      const query = first ? { bucket } : { bucket, cursor, wait: WAIT_SECONDS };
      const reply = await data(api.GET('/api/v1/changes', { params: { query }, signal }));
      cursor = reply.cursor;
      if (reply.changes.length > 0) tell(reply.changes.map(({ path }) => path));
    } catch {
      // An older backup was restored, or the proxy is busy or away: begin again from what is there then.
      cursor = undefined;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
      if (!signal.aborted) tell(['']);
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
