import { beforeEach, expect, it, vi } from 'vitest';

const replies: object[] = [];
const asked: unknown[] = [];

vi.stubGlobal('location', { origin: 'https://proxy' });
vi.stubGlobal('fetch', async (request: Request) => {
  asked.push(await request.json());
  return Response.json(replies.shift());
});
const { emptyTrash, removeForGood } = await import('./emptying');

const kept = { path: 'b', problem: { status: 423, code: 'locked' } };

beforeEach(() => {
  replies.length = 0;
  asked.length = 0;
});

it('empties the trash page by page, and adds up what was removed and what stays', async () => {
  replies.push({ removed: 20, bytes: 200, kept: [], next_after: 'a' }, { removed: 1, bytes: 5, kept: [kept] });
  const reports: number[] = [];
  const all = await emptyTrash('docs', ({ removed }) => reports.push(removed), new AbortController().signal);
  expect(all).toEqual({ removed: 21, bytes: 205, kept: [kept] });
  expect(reports).toEqual([20, 21]);
  expect(asked).toMatchObject([{ after: '' }, { after: 'a' }]);
});

it('stops between two calls once the person leaves', async () => {
  const left = new AbortController();
  replies.push({ removed: 20, bytes: 200, next_after: 'a' });
  expect(await emptyTrash('docs', () => left.abort(), left.signal)).toMatchObject({ removed: 20 });
  expect(asked).toHaveLength(1);
});

it('names what protects a file that stays', async () => {
  replies.push({ removed: 0, bytes: 0, kept: [kept] }, { removed: 1, bytes: 5 });
  expect(await removeForGood('docs', 'b', 'm1')).toEqual(kept);
  expect(await removeForGood('docs', 'b', 'm1')).toBeUndefined();
  expect(asked[0]).toMatchObject({ path: 'b', marker: 'm1' });
});
