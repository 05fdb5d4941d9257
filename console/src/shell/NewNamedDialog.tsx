import { Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { Dialog } from './Dialog';
import { DialogButtons } from './DialogButtons';
import { Failed } from './Failed';
import { NameField } from './NameField';

interface Props<Made> {
  title: string;
  nameLabel: string;
  nameHint?: string;
  maxLength: number;
  descriptionLabel: string;
  action: string;
  create: (name: string, description: string) => Promise<Made>;
  /** The list that it will be in. */
  listKey: string[];
  onMade: (made: Made) => void;
  onClose: () => void;
}

/** Creates something that has a name and a description. */
export function NewNamedDialog<Made>({ create, listKey, onMade, onClose, ...texts }: Props<Made>) {
  const cache = useQueryClient();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const making = useMutation({
    mutationFn: () => create(name.trim(), description.trim()),
    onSuccess: (made) => {
      void cache.invalidateQueries({ queryKey: listKey });
      onMade(made);
    },
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim()) making.mutate();
  }
  return (
    <Dialog title={texts.title} onClose={onClose}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          <NameField
            label={texts.nameLabel}
            description={texts.nameHint}
            value={name}
            onChange={setName}
            maxLength={texts.maxLength}
            data-autofocus
          />
          <TextInput
            label={texts.descriptionLabel}
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
            autoComplete="off"
            maxLength={1024}
          />
          <Failed error={making.error} />
          <DialogButtons action={texts.action} onCancel={onClose} isBusy={making.isPending} />
        </Stack>
      </form>
    </Dialog>
  );
}
