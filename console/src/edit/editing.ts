// What a person edits, and the content that it was made from. No I/O, no React.
import type { Content } from './content';
import type { Draft } from './drafts';

export interface Editing {
  /** Undefined until the file is loaded. */
  base: Content | undefined;
  text: string;
  /** What the file has become meanwhile, if the person has unsaved text: which one stays is theirs to say. */
  newer: Content | undefined;
}

export const NOTHING: Editing = { base: undefined, text: '', newer: undefined };

export function isChanged({ base, text }: Editing): boolean {
  return base !== undefined && text !== base.text;
}

/** The file was loaded, for the first time or again. `draft` is unsaved text from before. */
export function arrived(now: Editing, loaded: Content, draft: Draft | undefined): Editing {
  const begun = now.base ? { text: now.text, tag: now.base.tag } : draft;
  const isUnsaved = now.base ? isChanged(now) : draft !== undefined;
  if (!begun || !isUnsaved || begun.text === loaded.text) return { base: loaded, text: loaded.text, newer: undefined };
  const isAsked = now.newer !== undefined; // loading again answers no question
  return { base: loaded, text: begun.text, newer: begun.tag === loaded.tag && !isAsked ? undefined : loaded };
}

/** The person goes on with their own text, which will replace the newer one, or with the newer one. */
export function settled(now: Editing, keepsMine: boolean): Editing {
  return keepsMine || !now.newer ? { ...now, newer: undefined } : { ...now, text: now.newer.text, newer: undefined };
}

/** The text was saved, and the file's content now has this tag. */
export function saved(now: Editing, text: string, tag: string): Editing {
  return now.base ? { ...now, base: { ...now.base, text, tag } } : now;
}
