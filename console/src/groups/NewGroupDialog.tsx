import { Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { NameField } from '../shell/NameField';
import { type AccountGroup, createGroup, GROUPS_KEY } from './groups';
import { useGroupTexts } from './texts';

interface Props {
  onMade: (group: AccountGroup) => void;
  onClose: () => void;
}

/** Creates a group, without members. */
export function NewGroupDialog({ onMade, onClose }: Props) {
  const own = useGroupTexts();
  const cache = useQueryClient();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const making = useMutation({
    mutationFn: () => createGroup(name.trim(), description.trim()),
    onSuccess: (group) => {
      void cache.invalidateQueries({ queryKey: GROUPS_KEY });
      onMade(group);
    },
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim()) making.mutate();
  }
  return (
    <Dialog title={own.create} onClose={onClose}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          <NameField label={own.name} value={name} onChange={setName} maxLength={256} data-autofocus />
          <TextInput
            label={own.description}
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
            autoComplete="off"
            maxLength={1024}
          />
          <Failed error={making.error} />
          <DialogButtons action={own.createNow} onCancel={onClose} isBusy={making.isPending} />
        </Stack>
      </form>
    </Dialog>
  );
}
