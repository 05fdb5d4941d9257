// Tenants, over the API, and the names of their accounts.
import { api, data } from '../api/client';
import type { components } from '../api/schema';

type Schemas = components['schemas'];
export type Tenant = Schemas['TenantInfo'];

export const TENANTS_KEY = ['tenants'];
const SEPARATOR = '\\';

export function listTenants(): Promise<Schemas['TenantsReply']> {
  return data(api.GET('/api/v1/tenants'));
}

export function createTenant(name: string, description: string): Promise<Tenant> {
  return data(api.POST('/api/v1/tenants', { body: { name, description } }));
}

export async function deleteTenant(tenant: string): Promise<void> {
  await data(api.DELETE('/api/v1/tenants/{tenant}', { params: { path: { tenant } } }));
}

/** The whole name of an account, such as `acme\ann`. A name that begins with its tenant stays. */
export function nameInTenant(tenant: string, name: string): string {
  const prefix = tenant && `${tenant}${SEPARATOR}`;
  return name.startsWith(prefix) ? name : prefix + name;
}
