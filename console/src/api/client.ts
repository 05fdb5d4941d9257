// Calls the proxy's API with the session's cookie. The types come from the API's own OpenAPI document.
import createClient, { type Middleware } from 'openapi-fetch';

import { failure } from './failure';
import type { paths } from './schema';

let csrf = '';
let onSignedOut: () => void = () => {};

export const CSRF_HEADER = 'X-Lockstep-Csrf';

/** The header that every request needs that changes something. */
export function csrfToken(): string {
  return csrf;
}

/** Tell the page that the proxy no longer knows the session. */
export function endSession(): void {
  csrf = '';
  onSignedOut();
}

/** Call `listener` when the proxy no longer knows the session. */
export function whenSignedOut(listener: () => void): void {
  onSignedOut = listener;
}

const session: Middleware = {
  onRequest({ request }) {
    if (csrf && request.method !== 'GET') request.headers.set(CSRF_HEADER, csrf);
    return request;
  },
  onResponse({ request, response }) {
    csrf = response.headers.get(CSRF_HEADER) ?? csrf;
    if (response.status === 401 && !request.headers.has('X-Lockstep-Session')) endSession();
    return response;
  },
};

export const api = createClient<paths>({ baseUrl: globalThis.location?.origin });
api.use(session);

/** The data of a reply. Throws a Failure for an error, also when the proxy cannot be reached. */
export async function data<T>(reply: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let answered;
  try {
    answered = await reply;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw failure(0, undefined);
  }
  if (!answered.response.ok) throw failure(answered.response.status, answered.error);
  return answered.data as T;
}

/** The reply with a file's bytes. Throws a Failure, also when the proxy cannot be reached. */
export function bytes(address: string, request?: RequestInit): Promise<Response> {
  return data(replied(fetch(address, request)));
}

async function replied(asked: Promise<Response>) {
  const response = await asked;
  return { response, data: response, error: response.ok ? undefined : await response.json().catch(() => undefined) };
}

/** The address of a file's content. Each part of the path is encoded, and the slashes stay. */
export function fileAddress(bucket: string, path: string, version?: string): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  const query = version ? `?version=${encodeURIComponent(version)}` : '';
  return `/api/v1/files/${encodeURIComponent(bucket)}/${encoded}${query}`;
}
