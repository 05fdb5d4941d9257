import { expect, it } from 'vitest';

import { durationText } from './durations';

it.each([
  [0, '0 seconds'],
  [59.9, '59 seconds'],
  [60, '1 minute'],
  [7199, '1 hour'],
  [7200, '2 hours'],
  [86_399, '23 hours'],
  [200_000, '2 days'],
])('%d seconds are %j', (seconds, text) => expect(durationText(seconds, 'en-GB')).toBe(text));
