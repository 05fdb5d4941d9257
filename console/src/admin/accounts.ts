// What administrators do with accounts, over the API.
import { api, data } from '../api/client';
import type { components } from '../api/schema';

type Schemas = components['schemas'];
export type User = Schemas['UserInfo'];
export type Role = User['role'];
export type Change = Partial<Schemas['UserChangeBody']>;

export const ACCOUNTS_KEY = ['accounts'];

const of = (user: string) => ({ params: { path: { user } } });

/** Create an account. The reply has its one-time password. */
export function create(name: string, role: Role): Promise<Schemas['CreatedUser']> {
  return data(api.POST('/api/v1/users', { body: { name, role, password: '' } }));
}

export function change(name: string, wanted: Change): Promise<User> {
  const body = { role: null, disabled: null, second_factor_required: null, ...wanted };
  return data(api.PATCH('/api/v1/users/{user}', { ...of(name), body }));
}

/** Replace the password by a one-time password, which the reply has. All log-ins end; keys stay. */
export function reset(name: string): Promise<Schemas['CreatedUser']> {
  return data(api.POST('/api/v1/users/{user}/reset', of(name)));
}

export function dropSecondFactor(name: string): Promise<User> {
  return data(api.DELETE('/api/v1/users/{user}/mfa', of(name)));
}

/** Delete an account; its buckets go to `heir`, which may be empty if it owns none. */
export async function remove(name: string, heir: string): Promise<void> {
  const query = heir ? { buckets_to: heir } : {};
  await data(api.DELETE('/api/v1/users/{user}', { params: { path: { user: name }, query } }));
}

export function access(name: string): Promise<Schemas['UserAccessReply']> {
  return data(api.GET('/api/v1/users/{user}/access', of(name)));
}

/** End a log-in or key; without an id, all of them. */
export function end(name: string, id?: string): Promise<Schemas['RevokedAccess']> {
  if (id === undefined) return data(api.DELETE('/api/v1/users/{user}/access', of(name)));
  return data(api.DELETE('/api/v1/users/{user}/access/{id}', { params: { path: { user: name, id } } }));
}

/** Whose quotas: an account's or a tenant's. */
export type QuotaScope = 'accounts' | 'tenants';

export function quotas(scope: QuotaScope, name: string): Promise<Schemas['QuotaReply']> {
  if (scope === 'accounts') return data(api.GET('/api/v1/quotas/accounts/{user}', of(name)));
  return data(api.GET('/api/v1/quotas/tenants/{tenant}', { params: { path: { tenant: name } } }));
}

export type Resource = Schemas['QuotaInfo']['resource'];

/** Set quotas; null removes one, and the others stay. */
export function setQuotas(
  scope: QuotaScope,
  name: string,
  wanted: Partial<Record<Resource, number | null>>,
): Promise<Schemas['QuotaReply']> {
  const body = { quotas: wanted };
  if (scope === 'accounts') return data(api.PATCH('/api/v1/quotas/accounts/{user}', { ...of(name), body }));
  return data(api.PATCH('/api/v1/quotas/tenants/{tenant}', { params: { path: { tenant: name } }, body }));
}
