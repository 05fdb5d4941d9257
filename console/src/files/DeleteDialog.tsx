import { Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { useNotices } from '../shell/notices';
import { useTexts } from '../texts';
import type { Entry } from './entries';
import { FolderFailure } from './FolderFailure';
import { deleteFolder, type FolderChange } from './folders';
import { heldLocks } from './uploads';

interface Props {
  bucket: string;
  entry: Entry;
  /** Undefined: not known, as of a bucket that others have shared in part. */
  keepsVersions: boolean | undefined;
  onClose: () => void;
}

/** Asks before a file or a folder is deleted, and says whether it can come back. */
export function DeleteDialog({ bucket, entry, keepsVersions, onClose }: Props) {
  const texts = useTexts();
  const { say } = useNotices();
  const cache = useQueryClient();
  const [change, setChange] = useState<FolderChange>();
  const isFolder = entry.kind === 'folder';
  const remove = useMutation({
    mutationFn: () => (isFolder ? deleteFolder(bucket, entry.path, setChange) : deleteFile(bucket, entry.path)),
    onSuccess: () => {
      say(texts.files.deleted(entry.name));
      onClose();
    },
    onSettled: () => cache.invalidateQueries({ queryKey: ['files', bucket] }),
  });
  const said = isFolder ? texts.folders : texts.files;
  const known = keepsVersions ? said.confirmVersioned : said.confirmForGood;
  const explained = keepsVersions === undefined ? said.confirm : known;
  return (
    <Dialog title={said.confirmTitle} onClose={onClose}>
      <Text className="breakable">{explained(entry.name)}</Text>
      <FolderFailure error={remove.error} change={remove.isPending ? change : undefined} />
      <DialogButtons
        action={texts.files.remove}
        onAction={() => remove.mutate()}
        onCancel={onClose}
        isBusy={remove.isPending}
        isDangerous
      />
    </Dialog>
  );
}

async function deleteFile(bucket: string, path: string): Promise<void> {
  const lock = heldLocks.numberOf(bucket, path);
  const header = lock === undefined ? {} : { 'X-Lockstep-Lock': lock };
  await data(api.DELETE('/api/v1/files/{bucket}/{path}', { params: { path: { bucket, path }, header } }));
}
