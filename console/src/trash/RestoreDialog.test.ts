import { expect, it } from 'vitest';

import { besides } from './RestoreDialog';

it.each([
  ['a/plan.txt', 'a/plan (2).txt'],
  ['a.b/plan', 'a.b/plan (2)'],
  ['.profile', '.profile (2)'],
  ['x/.profile', 'x/.profile (2)'],
])('the name beside %s is %s', (path, other) => expect(besides(path)).toBe(other));
