import { Text, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { useTexts, words } from '../texts';

interface Props {
  path: string;
  /** Restores the file under another path. */
  restore: (toPath: string) => Promise<unknown>;
  onClose: () => void;
}

/** Asks for another name, because there is a file with the deleted one's name again. */
export function RestoreDialog({ path, restore, onClose }: Props) {
  const texts = useTexts();
  const [wanted, setWanted] = useState(() => besides(path));
  const save = useMutation({ mutationFn: () => restore(wanted.trim()), onSuccess: onClose });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (wanted.trim()) save.mutate();
  }
  return (
    <Dialog title={texts.trash.restoreTitle} onClose={onClose}>
      <form onSubmit={submit}>
        <Text className="breakable" mb="sm">
          {texts.trash.taken(path)}
        </Text>
        <TextInput
          label={texts.trash.otherName}
          value={wanted}
          onChange={(event) => setWanted(event.currentTarget.value)}
          error={save.error && words(save.error, texts)}
          required
          withAsterisk={false}
          data-autofocus
        />
        <DialogButtons action={texts.trash.restore} onCancel={onClose} isBusy={save.isPending} />
      </form>
    </Dialog>
  );
}

/** A name beside a path: `plan (2).txt` for `plan.txt`. */
export function besides(path: string): string {
  const dot = path.lastIndexOf('.');
  const isEnding = dot > path.lastIndexOf('/') + 1;
  return isEnding ? `${path.slice(0, dot)} (2)${path.slice(dot)}` : `${path} (2)`;
}
