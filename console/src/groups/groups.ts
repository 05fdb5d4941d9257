// Groups of accounts, over the API.
import { api, data } from '../api/client';
import type { components } from '../api/schema';

type Schemas = components['schemas'];
export type AccountGroup = Schemas['AccountGroup'];
export type GroupRole = NonNullable<AccountGroup['role']>;

export const GROUPS_KEY = ['groups'];

const of = (group: string) => ({ params: { path: { group } } });

/** Every group for administrators, for others their own ones. Without the members. */
export function listGroups(): Promise<Schemas['GroupsReply']> {
  return data(api.GET('/api/v1/groups'));
}

export function showGroup(name: string): Promise<AccountGroup> {
  return data(api.GET('/api/v1/groups/{group}', of(name)));
}

export function createGroup(name: string, description: string): Promise<AccountGroup> {
  return data(api.POST('/api/v1/groups', { body: { name, description, accounts: {} } }));
}

export interface GroupChange {
  description?: string;
  /** An account with null leaves the group. */
  accounts?: Record<string, GroupRole | null>;
}

/** Change what is given; the rest stays. */
export function changeGroup(name: string, { description, accounts = {} }: GroupChange): Promise<AccountGroup> {
  return data(api.PATCH('/api/v1/groups/{group}', { ...of(name), body: { description: description ?? null, accounts } }));
}

export async function deleteGroup(name: string): Promise<void> {
  await data(api.DELETE('/api/v1/groups/{group}', of(name)));
}
