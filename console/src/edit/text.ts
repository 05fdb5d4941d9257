// A file's bytes as text to edit, and back. No I/O.

export const MOST_BYTES = 1_000_000;

export interface Text {
  /** With one line feed after each line, as browsers edit it. */
  text: string;
  /** Whether each line of the file ends as on Windows. Saving keeps that. */
  hasReturns: boolean;
}

/** The text of a file; undefined if it is none that can be edited without changing other bytes. */
export function decoded(bytes: Uint8Array): Text | undefined {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
  if (text.includes('\0')) return undefined;
  const plain = text.replaceAll('\r\n', '\n');
  const returns = text.length - plain.length;
  const feeds = plain.split('\n').length - 1;
  // A field for text would silently make all ends of lines equal.
  if (plain.includes('\r') || (returns > 0 && returns < feeds)) return undefined;
  return { text: plain, hasReturns: returns > 0 };
}

export function encoded({ text, hasReturns }: Text): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(hasReturns ? text.replaceAll('\n', '\r\n') : text);
}

const NO_TEXT = /\.(7z|avi|bin|bmp|bz2|docx?|exe|flac|gif|gz|heic|ico|iso|jpe?g|m4a|mkv|mov|mp[34]|odt|ogg|pdf|png|pptx?|rar|tar|tiff?|wav|webm|webp|xlsx?|xz|zip|zst)$/i;

/** Whether a file may be text, by its name and size in bytes: whether it is one is seen when it is opened. */
export function mayBeText(name: string, size: number): boolean {
  return size <= MOST_BYTES && !NO_TEXT.test(name);
}
