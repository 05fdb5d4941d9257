// A selection of a folder, and the zip file of it that the proxy makes.
import { bytes } from '../api/client';
import { type Entry } from './entries';

/** As many names as an address takes. */
const MOST_NAMES = 500;
const MOST_QUERY_CHARACTERS = 15_000;

/** The address of the zip file of `names` in a folder, or of all that is in it; undefined if there are too many names. */
export function archiveAddress(bucket: string, folder: string, names: readonly string[] = []): string | undefined {
  const query = new URLSearchParams(folder && { folder });
  for (const name of names) query.append('name', name);
  const text = query.toString();
  if (names.length > MOST_NAMES || text.length > MOST_QUERY_CHARACTERS) return undefined;
  return `/api/v1/archives/${encodeURIComponent(bucket)}${text && `?${text}`}`;
}

/** Whether an entry can be in a zip file. */
export function isPackable({ kind, readable }: Pick<Entry, 'kind' | 'readable'>): boolean {
  return kind === 'folder' || readable;
}

/** The entry's name as the zip file's address has it. */
export function nameInAddress({ kind, name }: Pick<Entry, 'kind' | 'name'>): string {
  return kind === 'folder' ? `${name}/` : name;
}

/** The chosen paths after a click on the entry `at`; with `from`, on all entries from that one on. */
export function toggled(chosen: ReadonlySet<string>, entries: readonly Entry[], at: number, from = at): Set<string> {
  const result = new Set(chosen);
  const isNew = !chosen.has(entries[at]?.path ?? '');
  for (const entry of entries.slice(Math.min(at, from), Math.max(at, from) + 1)) {
    if (isNew && isPackable(entry)) result.add(entry.path);
    else result.delete(entry.path);
  }
  return result;
}

/** Have the browser save the file at an address. Throws a Failure for a refusal, of which a browser would not give the reason. */
export async function download(address: string): Promise<void> {
  // The reply to HEAD has no body that says why.
  await bytes(address, { method: 'HEAD' }).catch(async () => (await bytes(address)).body?.cancel());
  const link = document.createElement('a');
  link.href = address;
  link.download = '';
  link.click();
}
