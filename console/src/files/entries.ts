// What a folder's list shows: folders and files, sorted and filtered. No I/O.
import type { components } from '../api/schema';

export type FileVersion = components['schemas']['FileVersion'];

export interface Page {
  files: FileVersion[];
  prefixes: string[];
}

export interface Entry {
  kind: 'folder' | 'file';
  /** The name within its folder. */
  name: string;
  /** The whole path; a folder's ends with a slash. */
  path: string;
  size: number;
  /** Seconds since 1970. */
  changed: number;
  author: string;
  readable: boolean;
}

export type Column = 'name' | 'size' | 'changed' | 'author';

export interface Order {
  column: Column;
  descending: boolean;
}

export const BY_NAME: Order = { column: 'name', descending: false };

/** Beyond so many entries, comparing names as people do would stop the page: then bytes decide, as on the server. */
const MOST_COLLATED = 20_000;

interface Parts {
  folders: Entry[];
  files: Entry[];
}

/** What each page shows. A folder with a million files has a thousand pages, and only the newest is new. */
const known = new WeakMap<Page, Parts>();

/** The entries of a folder's pages, folders first, in the order of the server. */
export function entriesOf(pages: readonly Page[], folder: string): Entry[] {
  const parts = pages.map((page) => partsOf(page, folder));
  return [...parts.map(({ folders }) => folders), ...parts.map(({ files }) => files)].flat();
}

function partsOf(page: Page, folder: string): Parts {
  let parts = known.get(page);
  if (!parts) {
    const files = page.files.filter(({ path }) => path !== folder);
    parts = {
      folders: page.prefixes.map((path) => folderEntry(path, folder)),
      files: files.map((file) => fileEntry(file, folder)),
    };
    known.set(page, parts);
  }
  return parts;
}

/** Those of `entries` whose name contains `text`, in the given order. Folders stay first. */
export function arranged(entries: Entry[], text: string, order: Order, locale: string): Entry[] {
  const wanted = text.trim().toLowerCase();
  const found = wanted ? entries.filter(({ name }) => name.toLowerCase().includes(wanted)) : entries;
  const isLong = found.length > MOST_COLLATED;
  if (isLong && order.column === BY_NAME.column && !order.descending) return found;
  const names = isLong ? byCodeUnits : new Intl.Collator(locale, { numeric: true }).compare;
  const sign = order.descending ? -1 : 1;
  const compare: Record<Column, (a: Entry, b: Entry) => number> = {
    name: (a, b) => names(a.name, b.name),
    size: (a, b) => a.size - b.size,
    changed: (a, b) => a.changed - b.changed,
    author: (a, b) => names(a.author, b.author),
  };
  const chosen = compare[order.column];
  return found.toSorted(
    (a, b) =>
      Number(a.kind === 'file') - Number(b.kind === 'file') || sign * chosen(a, b) || names(a.name, b.name),
  );
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The order after a click on a column's head. */
export function nextOrder(order: Order, column: Column): Order {
  return { column, descending: order.column === column ? !order.descending : false };
}

function folderEntry(path: string, folder: string): Entry {
  const name = path.slice(folder.length, -1);
  return { kind: 'folder', name, path, size: 0, changed: 0, author: '', readable: true };
}

function fileEntry(file: FileVersion, folder: string): Entry {
  return {
    kind: 'file',
    name: file.path.slice(folder.length),
    path: file.path,
    size: file.size,
    changed: file.created_at,
    author: file.author,
    readable: file.readable ?? true,
  };
}
