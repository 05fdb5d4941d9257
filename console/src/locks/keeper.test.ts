import { beforeEach, describe, expect, it, vi } from 'vitest';

const replies: { reply: () => Response }[] = [];
const asked: { method: string; url: string; body?: unknown }[] = [];

vi.stubGlobal('location', { origin: 'https://proxy' });
vi.stubGlobal('fetch', async (request: Request) => {
  const body: unknown = request.method === 'GET' || request.method === 'DELETE' ? undefined : await request.json();
  asked.push({ method: request.method, url: new URL(request.url).pathname, body });
  const next = replies.shift();
  if (!next) return new Promise<Response>(() => {});
  return next.reply();
});
const { Keeper } = await import('./keeper');

const granted = (id: string) => () => Response.json({ lock: { id, number: 7 }, holders: [] });
const queued = (place: number) => () => Response.json({ waiter: { id: 'w', place }, holders: [] }, { status: 202 });
const refused = (status: number, code: string, more = {}) => () => Response.json({ code, detail: 'no', ...more }, { status });

function will(...all: (() => Response)[]) {
  replies.push(...all.map((reply) => ({ reply })));
}

function made(stored = '[]') {
  const storage = { kept: stored, getItem: () => storage.kept, setItem: (_: string, kept: string) => (storage.kept = kept) };
  const told: string[] = [];
  const keeper = new Keeper(storage);
  const stop = keeper.start({
    granted: ({ path }) => told.push(`granted ${path}`),
    waiting: ({ path }, place) => told.push(`waiting ${path} ${place}`),
    lost: ({ path }, why) => told.push(['lost', path, why.brokenBy, why.reason].filter(Boolean).join(' ')),
  });
  stop();
  return { keeper, storage, told };
}

beforeEach(() => {
  replies.length = 0;
  asked.length = 0;
});

describe('the keeper of locks', () => {
  it('keeps a lock that it got, also over a reload', async () => {
    const { keeper, storage, told } = made();
    will(granted('L1'));
    await keeper.take('files', 'a');
    expect(told).toEqual(['granted a']);
    expect(JSON.parse(storage.kept)).toMatchObject([{ path: 'a', lock: 'L1' }]);
    made(storage.kept);
    await vi.waitFor(() => expect(asked.at(-1)).toMatchObject({ method: 'PUT', url: '/api/v1/locks/L1' }));
  });

  it('waits in line with one request id until the lock is granted', async () => {
    const { keeper, told } = made();
    will(queued(2), queued(1), granted('L2'));
    await keeper.take('files', 'b');
    await vi.waitFor(() => expect(told).toEqual(['waiting b 2', 'granted b']));
    const ids = asked.map(({ body }) => (body as { request_id: string }).request_id);
    expect(new Set(ids).size).toBe(1);
    expect(asked.map(({ body }) => (body as { wait_seconds: number }).wait_seconds)).toEqual([0, 20, 20]);
  });

  it('tells when a lock is gone, and renews on after mere trouble', async () => {
    const { keeper, told, storage } = made();
    will(granted('L3'));
    await keeper.take('files', 'c');
    will(refused(503, 'unavailable'));
    await keeper.renew();
    expect(told).toEqual(['granted c']);
    will(refused(409, 'lock_stale'));
    await keeper.renew();
    expect(told).toEqual(['granted c', 'lost c']);
    expect(storage.kept).toBe('[]');
  });

  it('asks at once about a lock that a list has no more, and tells who broke it and why', async () => {
    const { keeper, told } = made();
    will(granted('L3'));
    await keeper.take('files', 'c');
    keeper.check(new Set(['L9']));
    keeper.check(new Set(['L3', 'L9']));
    expect(asked).toHaveLength(1);
    will(refused(409, 'lock_stale', { broken_by: 'ada', reason: 'holidays' }));
    keeper.check(new Set(['L9']));
    await vi.waitFor(() => expect(told).toEqual(['granted c', 'lost c ada holidays']));
    keeper.check(new Set());
    expect(asked).toHaveLength(2);
  });

  it('does not call a lock lost that was released', async () => {
    const { keeper, told } = made();
    will(granted('L4'));
    await keeper.take('files', 'd');
    keeper.forget('L4');
    await keeper.renew();
    expect(told).toEqual(['granted d']);
    expect(asked).toHaveLength(1);
  });

  it('releases everything when the person signs out', async () => {
    const { keeper } = made();
    will(granted('L5'), () => new Response(null, { status: 204 }));
    await keeper.take('files', 'e');
    await keeper.letGo();
    expect(asked.at(-1)).toMatchObject({ method: 'DELETE', url: '/api/v1/locks/L5' });
  });

  it('passes a refusal on and keeps nothing', async () => {
    const { keeper, storage } = made();
    will(refused(409, 'deadlock'));
    await expect(keeper.take('files', 'f')).rejects.toMatchObject({ problem: { code: 'deadlock' } });
    expect(storage.kept).toBe('[]');
  });

  it('knows what it keeps, says when that changes, and lets one go', async () => {
    const { keeper } = made();
    const told = vi.fn();
    const stop = keeper.subscribe(told);
    will(granted('L1'));
    await keeper.take('files', 'a');
    expect(keeper.find('files', 'a')).toMatchObject({ lock: 'L1', number: 7 });
    expect(keeper.find('files', 'b')).toBeUndefined();
    will(() => new Response(null, { status: 204 }));
    await keeper.drop('files', 'a');
    expect(asked.at(-1)).toMatchObject({ method: 'DELETE', url: '/api/v1/locks/L1' });
    expect(keeper.find('files', 'a')).toBeUndefined();
    expect(told).toHaveBeenCalledTimes(2);
    stop();
  });
});
