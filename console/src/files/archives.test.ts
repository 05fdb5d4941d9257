import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { archiveAddress, download, nameInAddress, toggled } from './archives';
import { entriesOf } from './entries';

const entries = entriesOf(
  [
    {
      files: ['in/a b.txt', 'in/c&d.txt', 'in/e.txt'].map((path) => ({
        ...{ bucket: 'plans', path, version: '1', digest: '', size: 1, author: 'ann', created_at: 0 },
        readable: path !== 'in/e.txt',
      })),
      prefixes: ['in/deep/'],
    },
  ],
  'in/',
);
const chosen = (indexes: number[]) => new Set(indexes.map((index) => entries[index]?.path ?? ''));

describe('the address of a zip file', () => {
  it('names the folder and what is chosen in it', () => {
    const names = entries.slice(0, 3).map(nameInAddress);
    expect(archiveAddress('plans', 'in/', names)).toBe(
      '/api/v1/archives/plans?folder=in%2F&name=deep%2F&name=a+b.txt&name=c%26d.txt',
    );
    expect(archiveAddress('plans', '')).toBe('/api/v1/archives/plans');
    expect(archiveAddress('plans', 'in/')).toBe('/api/v1/archives/plans?folder=in%2F');
  });

  it('takes no more names than the proxy does', () => {
    const names = Array.from({ length: 501 }, (_, index) => String(index));
    expect(archiveAddress('plans', '', names)).toBeUndefined();
    expect(archiveAddress('plans', '', names.slice(1))).toBeDefined();
    expect(archiveAddress('plans', '', ['ä'.repeat(200)].concat(Array(20).fill('ä'.repeat(200))))).toBeUndefined();
  });
});

describe('a selection', () => {
  it('changes with each click', () => {
    const first = toggled(new Set(), entries, 1);
    expect(first).toEqual(chosen([1]));
    expect(toggled(first, entries, 0)).toEqual(chosen([0, 1]));
    expect(toggled(first, entries, 1)).toEqual(new Set());
    expect([...first]).toEqual(['in/a b.txt']);
  });

  it('takes all entries between two clicks, but none that may not be read', () => {
    expect(toggled(chosen([0]), entries, 3, 0)).toEqual(chosen([0, 1, 2]));
    expect(toggled(chosen([0, 1, 2]), entries, 0, 2)).toEqual(new Set());
  });
});

describe('the download of a zip file', () => {
  const link = { href: '', click: vi.fn() };
  const asked = vi.fn();
  beforeEach(() => {
    vi.resetAllMocks();
    vi.stubGlobal('document', { createElement: () => link });
    vi.stubGlobal('fetch', asked);
  });
  afterEach(() => void vi.unstubAllGlobals());

  it('is the browser’s, once the proxy would send it', async () => {
    asked.mockResolvedValueOnce(new Response());
    await download('/zip');
    expect(asked.mock.calls).toEqual([['/zip', { method: 'HEAD' }]]);
    expect([link.href, link.click.mock.calls.length]).toEqual(['/zip', 1]);
  });

  it('is refused with the reason, which HEAD does not have', async () => {
    asked.mockResolvedValueOnce(new Response(null, { status: 413 }));
    asked.mockResolvedValueOnce(Response.json({ code: 'too_large', detail: 'too much' }, { status: 413 }));
    await expect(download('/zip')).rejects.toMatchObject({ problem: { status: 413, code: 'too_large' } });
    expect(link.click).not.toHaveBeenCalled();
  });

  it('fails without a proxy', async () => {
    asked.mockRejectedValue(new TypeError('no network'));
    await expect(download('/zip')).rejects.toMatchObject({ problem: { code: 'unreachable' } });
    expect(link.click).not.toHaveBeenCalled();
  });
});
