import { describe, expect, it } from 'vitest';

import { arranged, BY_NAME, entriesOf, type FileVersion, nextOrder } from './entries';
import { sizeText } from './format';

function file(path: string, size = 1, created_at = 0, author = 'ann'): FileVersion {
  return { bucket: 'files', path, version: '1', digest: '', size, author, created_at };
}
const names = (entries: { name: string }[]) => entries.map(({ name }) => name);

describe('a folder', () => {
  it('shows names without the folder, folders first, and not its own marker', () => {
    const pages = [
      { files: [file('plans/'), file('plans/a.txt')], prefixes: ['plans/z/'] },
      { files: [file('plans/b.txt')], prefixes: ['plans/y/'] },
    ];
    const entries = entriesOf(pages, 'plans/');
    expect(names(entries)).toEqual(['z', 'y', 'a.txt', 'b.txt']);
    expect(entries.map(({ kind }) => kind)).toEqual(['folder', 'folder', 'file', 'file']);
    expect(entries[0]?.path).toBe('plans/z/');
  });

  it('marks what the account may not read', () => {
    expect(entriesOf([{ files: [{ ...file('a'), readable: false }], prefixes: [] }], '')[0]?.readable).toBe(false);
  });
});

describe('the order', () => {
  const entries = entriesOf(
    [{ files: [file('file10', 5, 3, 'ben'), file('File2', 9, 1, 'ann'), file('file1', 5, 2, 'cleo')], prefixes: ['x/'] }],
    '',
  );

  it('takes numbers in names as numbers', () => {
    expect(names(arranged(entries, '', BY_NAME, 'en'))).toEqual(['x', 'file1', 'File2', 'file10']);
  });

  it('keeps folders first also when it is turned around', () => {
    const order = { column: 'name', descending: true } as const;
    expect(names(arranged(entries, '', order, 'en'))).toEqual(['x', 'file10', 'File2', 'file1']);
  });

  it('sorts by size, time and author, and equals by name', () => {
    const by = (column: 'size' | 'changed' | 'author') =>
      names(arranged(entries, '', { column, descending: false }, 'en')).slice(1);
    expect(by('size')).toEqual(['file1', 'file10', 'File2']);
    expect(by('changed')).toEqual(['File2', 'file1', 'file10']);
    expect(by('author')).toEqual(['File2', 'file10', 'file1']);
  });

  it('turns around on a second click, and begins anew on another column', () => {
    const again = nextOrder(BY_NAME, 'name');
    expect(again).toEqual({ column: 'name', descending: true });
    expect(nextOrder(again, 'size')).toEqual({ column: 'size', descending: false });
  });

  it('filters by a part of the name in any case', () => {
    expect(names(arranged(entries, ' FILE1 ', BY_NAME, 'en'))).toEqual(['file1', 'file10']);
  });

  it('of very many entries is that of the server, and costs no comparison as people make it', () => {
    const many = Array.from({ length: 30_000 }, (_, at) => file(`f${String(at).padStart(5, '0')}`, 30_000 - at));
    const all = entriesOf([{ files: many, prefixes: ['x/'] }], '');
    expect(arranged(all, '', BY_NAME, 'en')).toBe(all);
    const backwards = arranged(all, '', { column: 'name', descending: true }, 'en');
    expect(names(backwards.slice(0, 2))).toEqual(['x', 'f29999']);
    expect(arranged(all, '', { column: 'size', descending: false }, 'en')[1]?.name).toBe('f29999');
  });

  it('makes the entries of a page once', () => {
    const page = { files: [file('a')], prefixes: [] };
    const next = { files: [file('b')], prefixes: [] };
    expect(entriesOf([page, next], '')[0]).toBe(entriesOf([page], '')[0]);
  });
});

describe('a size', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [1536, '1.5 kB'],
    [123_456, '123 kB'],
    [5_000_000_000, '5 GB'],
    [999_999_999_999_999_999, '1,000 PB'],
  ])('%d is %s', (bytes, text) => expect(sizeText(bytes, 'en')).toBe(text));
});
