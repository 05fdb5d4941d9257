import { describe, expect, it } from 'vitest';

import { folderOf, folderPath } from './folders';

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

it.each([
  ['a.txt', ''],
  ['a/b/c.txt', 'a/b/'],
  ['a/b/', 'a/b/'],
  ['', ''],
])('%j is in the folder %j', (path, folder) => expect(folderOf(path)).toBe(folder));
