// An error reply as an exception: the API's problem details (RFC 9457), or no reply at all.

export interface Problem {
  status: number;
  code: string;
  detail: string;
  reason?: string;
  holder?: string;
  /** Who broke the lock; empty for somebody of another tenant. */
  brokenBy?: string;
  until?: number;
  /** The chunks that a chunk stream must bring with their bytes. */
  digests?: string[];
  /** The password is only good for setting another one. */
  mustChange?: boolean;
}

export class Failure extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
    this.name = 'Failure';
  }
}

/** The failure that a reply's status and body mean. Status 0: there was no reply. */
export function failure(status: number, body: unknown): Failure {
  const given = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  return new Failure({
    status,
    code: textOf(given.code) || (status === 0 ? 'unreachable' : 'unknown'),
    detail: textOf(given.detail),
    reason: textOf(given.reason) || undefined,
    holder: textOf(given.holder) || undefined,
    brokenBy: typeof given.broken_by === 'string' ? given.broken_by : undefined,
    mustChange: given.must_change === true || undefined,
    digests: digestsOf(given.facts),
    until: typeof given.until === 'number' ? given.until : undefined,
  });
}

/** What a failure says; of any other error, nothing. */
export function problemOf(error: unknown): Problem {
  return error instanceof Failure ? error.problem : failure(0, undefined).problem;
}

/** Whether repeating the request can help: no reply, too many requests, or a server's trouble. */
export function mayRepeat(error: unknown): boolean {
  if (!(error instanceof Failure)) return false;
  const { status } = error.problem;
  return status === 0 || status === 429 || status >= 500;
}

// A long list is only in the reply's `facts`, not beside its other members.
function digestsOf(facts: unknown): string[] | undefined {
  const digests = typeof facts === 'object' && facts !== null && 'digests' in facts ? facts.digests : undefined;
  return Array.isArray(digests) ? digests.filter((one) => typeof one === 'string') : undefined;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
