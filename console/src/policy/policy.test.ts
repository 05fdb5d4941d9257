import { describe, expect, it } from 'vitest';

import { type Access, changesOf, pathsOf, policyOf, templateOf, textOf } from './policy';

const statement = (...resources: string[]) => ({ Statement: [{ Resource: resources }] });

describe('a policy as text', () => {
  it.each([
    ['', null],
    ['  \n', null],
    ['{"Version": "2012-10-17"}', { Version: '2012-10-17' }],
    ['{"Version": ', undefined],
    ['[]', undefined],
    ['"text"', undefined],
    ['null', undefined],
  ])('%j is %j', (text, policy) => expect(policyOf(text)).toEqual(policy));

  it('is shown with one member a line', () => {
    expect(textOf({ a: 1 })).toBe('{\n  "a": 1\n}');
    expect(textOf(null)).toBe('');
    expect(policyOf(textOf(templateOf('onlyOffice', 'b')))).toEqual(templateOf('onlyOffice', 'b'));
  });
});

describe('what to explain of a policy', () => {
  it('is the whole bucket and each folder or file that it names', () => {
    const policy = statement(
      ...['arn:aws:s3:::b', 'arn:aws:s3:::b/*', 'arn:aws:s3:::b/in/*', 'arn:aws:s3:::b/in/a*.txt', 'arn:aws:s3:::b/x.txt'],
      ...['arn:aws:s3:::other/out/*', 'arn:aws:s3:::b/home/${aws:username}/*', 'arn:aws:s3:::b/../*'],
    );
    expect(pathsOf(policy, 'b')).toEqual(['', 'in/', 'x.txt', 'home/']);
    expect(pathsOf({ Statement: { Resource: 'arn:aws:s3:::b/in/*' } }, 'b')).toEqual(['', 'in/']);
    expect(pathsOf(null, 'b')).toEqual(['']);
    expect(pathsOf({ Statement: 5 } as never, 'b')).toEqual(['']);
    expect(pathsOf({ Statement: [null] } as never, 'b')).toEqual(['']);
  });

  it('is bounded', () => {
    const many = Array.from({ length: 20 }, (_, index) => `arn:aws:s3:::b/${index}/*`);
    expect(pathsOf(statement(...many), 'b')).toHaveLength(6);
  });
});

describe('what a policy changes', () => {
  const access = (people: Record<string, string[]>) =>
    ({
      people: Object.entries(people).map(([account, levels]) => ({ account, levels, ground: 'policy', because: '' })),
    }) as unknown as Access;

  it('is shown first, with what there was before', () => {
    const now = access({ ann: ['read'], olga: ['read', 'write'], ':accounts': [], ':everybody': [] });
    const then = access({ olga: ['read', 'write'], ben: ['read'], ':accounts': [], ':everybody': ['read'] });
    const found = changesOf(now, then).map(({ person, before, isChanged }) => [person.account, person.levels, before, isChanged]);
    expect(found).toEqual([
      ['ben', ['read'], [], true],
      [':everybody', ['read'], [], true],
      ['ann', [], ['read'], true],
      ['olga', ['read', 'write'], ['read', 'write'], false],
      [':accounts', [], [], false],
    ]);
  });
});
