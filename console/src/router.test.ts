import { describe, expect, it } from 'vitest';

import { addressOf, NO_SEARCH, type Place, placeOf } from './router';

describe('an address', () => {
  it.each<[string, Place]>([
    ['/console/', { page: 'files', bucket: '', folder: '' }],
    ['/console/files/a-bucket', { page: 'files', bucket: 'a-bucket', folder: '' }],
    ['/console/files/b/c%20d/%C3%A4%3F%23%25', { page: 'files', bucket: 'b', folder: 'c d/ä?#%/' }],
    ['/console/locks', { page: 'locks' }],
    ['/console/edit/b/a%2F%2Fb%20c%3F.txt', { page: 'edit', bucket: 'b', path: 'a//b c?.txt' }],
    ['/console/cluster', { page: 'cluster' }],
    ['/console/admin', { page: 'admin', part: 'accounts' }],
    ['/console/admin/audit', { page: 'admin', part: 'audit' }],
    ['/console/admin/groups', { page: 'admin', part: 'groups' }],
    ['/console/account', { page: 'account' }],
    ['/console/links', { page: 'links' }],
    [
      '/console/search?q=roof+%26+plan%3F&days=7',
      { page: 'search', search: { text: 'roof & plan?', bucket: '', type: '', days: '7' } },
    ],
    ['/console/trash/a-bucket', { page: 'trash', bucket: 'a-bucket' }],
    ['/console/usage', { page: 'usage', bucket: '' }],
    ['/console/usage/a-bucket', { page: 'usage', bucket: 'a-bucket' }],
    ['/console/search', { page: 'search', search: NO_SEARCH }],
  ])('%s names a place, and the place the address', (address, place) => {
    expect(placeOf(address)).toEqual(place);
    expect(placeOf(addressOf(place))).toEqual(place);
  });

  it('that cannot be decoded is taken as it is', () => {
    expect(placeOf('/console/files/b/%zz')).toEqual({ page: 'files', bucket: 'b', folder: '%zz/' });
  });
});
