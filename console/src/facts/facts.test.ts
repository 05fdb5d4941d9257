import { describe, expect, it } from 'vitest';

import { type Facts, factsChange, tagProblems, tagsOf } from './facts';

const known: Facts = {
  ...{ bucket: 'plans', path: 'roof.txt', version: '1', content_type: 'text/plain', metadata: {} },
  description: 'the roof',
  tags: { team: 'roof', draft: 'yes' },
};

describe('a change of facts', () => {
  it('has only what differs', () => {
    expect(factsChange(known, 'the roof', tagsOf(known))).toBeUndefined();
    expect(factsChange(known, ' the wall ', tagsOf(known))).toEqual({ description: 'the wall', tags: {} });
    expect(factsChange(known, 'the roof', [['team', 'wall'], ['state', ' new ']])).toEqual({
      description: null,
      tags: { team: 'wall', state: 'new', draft: null },
    });
  });

  it('removes a description, and takes an empty row for no tag', () => {
    expect(factsChange(known, '', [...tagsOf(known), ['', '']])).toEqual({ description: '', tags: {} });
  });

  it('leaves tags alone that may not be read', () => {
    expect(factsChange({ ...known, tags: null }, 'new', [])).toEqual({ description: 'new', tags: {} });
  });
});

describe('rows of tags', () => {
  it('need a key, and each another one', () => {
    expect(tagProblems([['team', 'a'], ['', ''], ['', 'b'], [' team ', 'c']])).toEqual([
      undefined,
      undefined,
      'noKey',
      'sameKey',
    ]);
  });
});
