import { TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { useTexts } from '../texts';
import { FolderFailure } from './FolderFailure';
import { createFolder, folderPath, type FolderChange, renameFolder } from './folders';

interface Props {
  bucket: string;
  /** The folder in which it is, or will be. */
  parent: string;
  /** The present name; without one, a new folder is created. */
  name?: string;
  onClose: () => void;
}

/** Asks for a folder's name, to create it or to rename it with everything in it. */
export function FolderDialog({ bucket, parent, name, onClose }: Props) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [wanted, setWanted] = useState(name ?? '');
  const [change, setChange] = useState<FolderChange>();
  const path = folderPath(parent, wanted);
  const save = useMutation({
    mutationFn: () =>
      name === undefined ? createFolder(bucket, path) : renameFolder(bucket, `${parent}${name}/`, path, setChange),
    onSuccess: onClose,
    onSettled: () => cache.invalidateQueries({ queryKey: ['files', bucket] }),
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (path && wanted.trim() !== name) save.mutate();
  }
  const isBad = wanted.trim() !== '' && path === '';
  return (
    <Dialog title={name === undefined ? texts.folders.create : texts.folders.renameTitle(name)} onClose={onClose}>
      <form onSubmit={submit}>
        <TextInput
          label={texts.folders.name}
          value={wanted}
          onChange={(event) => setWanted(event.currentTarget.value)}
          error={isBad && texts.folders.badName}
          required
          withAsterisk={false}
          data-autofocus
        />
        <FolderFailure error={save.error} change={save.isPending ? change : undefined} />
        <DialogButtons
          action={name === undefined ? texts.folders.createNow : texts.folders.rename}
          onCancel={onClose}
          isBusy={save.isPending}
          isDisabled={isBad}
        />
      </form>
    </Dialog>
  );
}
