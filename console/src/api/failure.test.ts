import { expect, it } from 'vitest';

import { failure } from './failure';

it('names the missing chunks of a large file, too', () => {
  // The proxy leaves a long list out of the other members.
  const digests = Array.from({ length: 272 }, (_, index) => String(index));
  expect(failure(409, { code: 'missing_chunks', facts: { digests } }).problem.digests).toEqual(digests);
  expect(failure(409, { code: 'missing_chunks', facts: {} }).problem.digests).toBeUndefined();
  expect(failure(409, {}).problem.digests).toBeUndefined();
});
