// Removes deleted files for good. The API does twenty in a call, so that none takes long.
import { api, data } from '../api/client';
import type { components } from '../api/schema';

export type Kept = components['schemas']['KeptTrash'];

export interface Emptied {
  removed: number;
  bytes: number;
  /** Files that stay in the trash, and why. */
  kept: Kept[];
}

/** Remove everything in the trash of a bucket, and report how far it is. Stops between two calls when `signal` says so. */
export async function emptyTrash(
  bucket: string,
  report: (soFar: Emptied) => void,
  signal: AbortSignal,
): Promise<Emptied> {
  const all: Emptied = { removed: 0, bytes: 0, kept: [] };
  let after: string | null | undefined = '';
  while (after != null && !signal.aborted) {
    const body = { path: null, marker: '', prefix: '', after };
    const page: components['schemas']['EmptyTrashReply'] = await data(
      api.POST('/api/v1/trash/{bucket}/empty', { params: { path: { bucket } }, body }),
    );
    all.removed += page.removed;
    all.bytes += page.bytes;
    all.kept.push(...(page.kept ?? []));
    after = page.next_after;
    report({ ...all });
  }
  return all;
}

/** Remove one deleted file. Returns what protects it, if it stays. */
export async function removeForGood(bucket: string, path: string, marker: string): Promise<Kept | undefined> {
  const body = { path, marker, prefix: '', after: '' };
  const reply = await data(api.POST('/api/v1/trash/{bucket}/empty', { params: { path: { bucket } }, body }));
  return reply.kept?.[0];
}
