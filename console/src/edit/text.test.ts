import { describe, expect, it } from 'vitest';

import { decoded, encoded, mayBeText } from './text';

const bytes = (text: string) => new TextEncoder().encode(text);

describe('a text', () => {
  it.each(['', 'one', 'one\ntwo\n', 'one\r\ntwo\r\n', '\ufeffäöü 漢 \u{1f512}\n'])('%j is saved byte for byte', (text) => {
    const found = decoded(bytes(text));
    expect(found && encoded(found)).toEqual(bytes(text));
  });

  it('gets new lines that end as its others do', () => {
    expect(encoded({ text: 'one\ntwo\n', hasReturns: true })).toEqual(bytes('one\r\ntwo\r\n'));
  });

  it.each(['a\0b', 'one\r\ntwo\n', 'one\rtwo', 'one\r\r\n'])('is not %j, which editing would change', (text) => {
    expect(decoded(bytes(text))).toBeUndefined();
  });

  it('is not what is no UTF-8', () => expect(decoded(Uint8Array.of(0xff, 0xfe, 0x41))).toBeUndefined());

  it('is offered to be edited by name and size', () => {
    expect([mayBeText('Makefile', 10), mayBeText('a.TXT', 10)]).toEqual([true, true]);
    expect([mayBeText('a.PNG', 10), mayBeText('a.txt', 1_000_001)]).toEqual([false, false]);
  });
});
