// Text that is not saved yet, kept in the tab: a reload or the way to another page loses nothing.
export interface Draft {
  text: string;
  /** The tag of the content that it was made from. */
  tag: string;
}

const PREFIX = 'lockstep-draft ';

export function draftOf(storage: Pick<Storage, 'getItem'>, key: string): Draft | undefined {
  const found = storage.getItem(PREFIX + key);
  return found === null ? undefined : (JSON.parse(found) as Draft);
}

/** Keep a draft, or with undefined keep none any more. */
export function keepDraft(storage: Pick<Storage, 'setItem' | 'removeItem'>, key: string, draft: Draft | undefined): void {
  try {
    if (draft) storage.setItem(PREFIX + key, JSON.stringify(draft));
    else storage.removeItem(PREFIX + key);
  } catch {
    // The browser's room for this page is full: the text is then only in the field.
  }
}
