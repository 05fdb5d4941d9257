// The account's own keys for programs, of both kinds, over the API.
import { api, data } from '../api/client';

export type Kind = 'api' | 's3';

export interface Key {
  id: string;
  name: string;
  /** Seconds since 1970. */
  made: number;
  /** Seconds since 1970; 0: it does not expire. */
  until: number;
}

/** A secret's name with its value. */
export type Secret = [label: string, value: string];

export async function listKeys(kind: Kind): Promise<Key[]> {
  if (kind === 'api') {
    const { keys } = await data(api.GET('/api/v1/auth/keys'));
    return keys.map(({ id, name, created_at: made }) => ({ id, name, made, until: 0 }));
  }
  const { keys } = await data(api.GET('/api/v1/auth/s3-keys'));
  return keys.map(({ access_key_id: id, name = '', created_at: made, expires_at: until }) => {
    return { id, name, made, until: until ?? 0 };
  });
}

/** Create a key. Returns what no other reply has. */
export async function createKey(kind: Kind, name: string): Promise<Secret[]> {
  if (kind === 'api') {
    const { key = '' } = await data(api.POST('/api/v1/auth/keys', { body: { name } }));
    return [['X-Api-Key:', key]];
  }
  const { access_key_id: id, secret = '' } = await data(api.POST('/api/v1/auth/s3-keys', { body: { name } }));
  return [
    ['aws_access_key_id =', id],
    ['aws_secret_access_key =', secret],
  ];
}

export async function revokeKey(kind: Kind, id: string): Promise<void> {
  const params = { path: { id } };
  await data(kind === 'api' ? api.DELETE('/api/v1/auth/keys/{id}', { params }) : api.DELETE('/api/v1/auth/s3-keys/{id}', { params }));
}
