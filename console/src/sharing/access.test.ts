import { describe, expect, it } from 'vitest';

import { de } from '../texts/de';
import { en } from '../texts/en';
import { grantHere, highest, reasonOf, shownOf } from './access';

const reply = {
  path: 'plans/roof.txt',
  grants: [
    { path: 'plans/', account: 'ben', level: 'write' as const },
    { path: 'plans/roof.txt', account: 'cleo', level: 'read' as const },
  ],
};
const ben = { account: 'ben', levels: ['read' as const, 'write' as const], ground: 'grant' as const, because: 'a grant' };

describe('access', () => {
  it('is named by its highest level', () => {
    expect([highest(['read', 'manage', 'write']), highest(['read']), highest([])]).toEqual(['manage', 'read', undefined]);
  });

  it('can be changed here only where it was given here', () => {
    expect(grantHere(reply, 'cleo')?.level).toBe('read');
    expect(grantHere(reply, 'ben')).toBeUndefined();
  });

  it('of a group stands in front of those that no rule names, once', () => {
    const rest = { account: ':accounts', levels: [], ground: 'nothing' as const, because: '' };
    const grants = [
      { path: '', account: 'group:team', level: 'read' as const },
      { path: 'plans/', account: 'group:team', level: 'write' as const },
    ];
    const shown = shownOf({ people: [ben, rest], grants });
    expect(shown.map(({ account }) => account)).toEqual(['ben', 'group:team', ':accounts']);
    expect(highest(shown[1]?.levels ?? [])).toBe('write');
  });

  it('has a reason in every language, and names the folder that it comes from', () => {
    expect(reasonOf(ben, reply, en)).toContain('“plans/”');
    expect(reasonOf(ben, reply, de)).toContain('„plans/“');
    const owner = { ...ben, account: 'ann', ground: 'owner' as const, because: "owns bucket 'album'", conditional: true };
    expect(reasonOf(owner, reply, en)).toBe(`Owns bucket 'album' ${en.sharing.conditional}`);
    expect(reasonOf(owner, reply, de)).toBe(`${de.sharing.grounds.owner} ${de.sharing.conditional}`);
  });
});
