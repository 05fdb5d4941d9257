import { describe, expect, it } from 'vitest';

import { folderPath } from './folders';

describe('a folder’s path', () => {
  it.each([
    ['', 'plans', 'plans/'],
    ['a/b/', ' c d ', 'a/b/c d/'],
    ['a/', '..', ''],
    ['a/', '.', ''],
    ['a/', 'b/c', ''],
    ['a/', '  ', ''],
    ['a/', '...', 'a/.../'],
  ])('in %j with the name %j is %j', (parent, name, path) => expect(folderPath(parent, name)).toBe(path));
});
