// The files of a drop or of a chosen folder, with their paths below it.

export interface Picked {
  path: string;
  file: File;
}

/** Every file that was dropped, those in folders too. */
export async function droppedFiles(transfer: DataTransfer): Promise<Picked[]> {
  // The items are gone after the first wait, so all entries are taken now.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  if (entries.length === 0) return chosenFiles(transfer.files);
  return (await Promise.all(entries.map((entry) => filesOf(entry, '')))).flat();
}

/** The files of an <input type="file">; those of a folder have their path in it. */
export function chosenFiles(files: Iterable<File>): Picked[] {
  return [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function filesOf(entry: FileSystemEntry, above: string): Promise<Picked[]> {
  const path = `${above}${entry.name}`;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ path, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Picked[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    for (const one of some) found.push(...(await filesOf(one, `${path}/`)));
  }
}
