// Folders as a whole: created, renamed and deleted. Small ones change at once, large ones file by file.
import { api, data } from '../api/client';
import type { components } from '../api/schema';

export type FolderChange = components['schemas']['FolderChange'];
export type Report = (change: FolderChange) => void;

const POLL_MILLISECONDS = 1000;

/** A change that ended without all files: they stay where they are, and are named. */
export class UnfinishedChange extends Error {
  constructor(readonly change: FolderChange) {
    super(change.state);
  }
}

export async function createFolder(bucket: string, path: string): Promise<void> {
  await data(api.POST('/api/v1/folders', { body: { bucket, path, exist_ok: false } }));
}

export function renameFolder(bucket: string, path: string, toPath: string, report: Report): Promise<void> {
  const body = { bucket, path, to_path: toPath, to_bucket: null, merge: false };
  return untilDone(data(api.POST('/api/v1/folders/move', { body })), report);
}

export function deleteFolder(bucket: string, path: string, report: Report): Promise<void> {
  return untilDone(data(api.DELETE('/api/v1/folders/{bucket}/{path}', { params: { path: { bucket, path } } })), report);
}

/** The folder that a path is in, with its slash; empty in the bucket itself. A folder's path gives the folder. */
export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1);
}

/** The path of a folder beside or below another one; empty if the name cannot be one. */
export function folderPath(parent: string, name: string): string {
  const trimmed = name.trim();
  const isName = trimmed !== '' && trimmed !== '.' && trimmed !== '..' && !trimmed.includes('/');
  return isName ? `${parent}${trimmed}/` : '';
}

/** Wait for a change to end. It goes on by itself, also when nobody waits. Throws UnfinishedChange. */
async function untilDone(begun: Promise<FolderChange>, report: Report): Promise<void> {
  let change = await begun;
  while (change.state === 'running') {
    report(change);
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    change = await data(api.GET('/api/v1/folder-changes/{id}', { params: { path: { id: change.id } } }));
  }
  if (change.state !== 'done') throw new UnfinishedChange(change);
}
