import { describe, expect, it } from 'vitest';

import { nameInTenant } from './tenants';

describe('the name of an account in a tenant', () => {
  it.each([
    ['acme', 'ann', 'acme\\ann'],
    ['acme', 'acme\\ann', 'acme\\ann'],
    ['acme', 'acmeann', 'acme\\acmeann'],
    ['', 'ann', 'ann'],
    ['', 'acme\\ann', 'acme\\ann'],
  ])('%j with %j is %j', (tenant, name, whole) => expect(nameInTenant(tenant, name)).toBe(whole));
});
