import { describe, expect, it } from 'vitest';

import { draftOf, keepDraft } from './drafts';
import { arrived, isChanged, NOTHING, saved, settled } from './editing';

const content = (text: string) => ({ text, tag: `"${text}"`, hasReturns: false, contentType: 'text/plain', metadata: '' });
const opened = arrived(NOTHING, content('one'), undefined);

describe('editing', () => {
  it('begins with the file', () => {
    expect([opened.text, isChanged(opened), isChanged(NOTHING)]).toEqual(['one', false, false]);
  });

  it('shows what the holder before has saved', () => {
    expect(arrived(opened, content('two'), undefined)).toMatchObject({ text: 'two', newer: undefined });
  });

  it('never drops unsaved text: the person decides', () => {
    const mine = { ...opened, text: 'mine' };
    expect(arrived(mine, content('one'), undefined)).toMatchObject({ text: 'mine', newer: undefined });
    const asked = arrived(mine, content('two'), undefined);
    expect(asked).toMatchObject({ text: 'mine', newer: { text: 'two' } });
    expect(arrived(asked, content('two'), undefined).newer).toMatchObject({ text: 'two' });
    expect(settled(asked, true)).toMatchObject({ text: 'mine', newer: undefined, base: { text: 'two' } });
    expect(settled(asked, false)).toMatchObject({ text: 'two', newer: undefined });
  });

  it('goes on with the text from before a reload', () => {
    const same = arrived(NOTHING, content('one'), { text: 'mine', tag: '"one"' });
    expect([same.text, same.newer, isChanged(same)]).toEqual(['mine', undefined, true]);
    expect(arrived(NOTHING, content('two'), { text: 'mine', tag: '"one"' }).newer).toMatchObject({ text: 'two' });
    expect(isChanged(arrived(NOTHING, content('two'), { text: 'two', tag: '"one"' }))).toBe(false);
  });

  it('is done when it is saved', () => {
    const done = saved({ ...opened, text: 'mine' }, 'mine', '"m"');
    expect([isChanged(done), done.base?.tag]).toEqual([false, '"m"']);
  });
});

describe('a draft', () => {
  it('is kept for its file until it is saved, and a full storage stops nobody', () => {
    const kept = new Map<string, string>();
    const storage = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
      removeItem: (key: string) => void kept.delete(key),
    };
    keepDraft(storage, 'b/a', { text: 'mine', tag: '"t"' });
    expect([draftOf(storage, 'b/a'), draftOf(storage, 'b/b')]).toEqual([{ text: 'mine', tag: '"t"' }, undefined]);
    keepDraft(storage, 'b/a', undefined);
    expect(draftOf(storage, 'b/a')).toBeUndefined();
    const full = { ...storage, setItem: () => { throw new DOMException('full'); } };
    expect(() => keepDraft(full, 'b/a', { text: '', tag: '' })).not.toThrow();
  });
});
