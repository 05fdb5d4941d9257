import { Checkbox, Stack } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, data } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { NameField } from '../shell/NameField';
import { useTexts } from '../texts';

/** Creates a bucket, of the account that is signed in. */
export function NewBucketDialog({ onClose }: { onClose: () => void }) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [name, setName] = useState('');
  const [isVersioned, setIsVersioned] = useState(true);
  const [isShared, setIsShared] = useState(false);
  const making = useMutation({
    mutationFn: () =>
      data(
        api.POST('/api/v1/buckets', {
          body: { name: name.trim(), versioning: isVersioned ? 'enabled' : 'off', shared: isShared },
        }),
      ),
    onSuccess: onClose,
    onSettled: () => cache.invalidateQueries({ queryKey: ['buckets'] }),
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    making.mutate();
  }
  return (
    <Dialog title={texts.buckets.create} onClose={onClose}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          <NameField
            label={texts.buckets.name}
            description={texts.buckets.nameHint}
            value={name}
            onChange={setName}
            maxLength={63}
            data-autofocus
          />
          <Checkbox
            label={texts.buckets.versioned}
            description={texts.buckets.versionedHint}
            checked={isVersioned}
            onChange={(event) => setIsVersioned(event.currentTarget.checked)}
          />
          <Checkbox
            label={texts.buckets.shared}
            checked={isShared}
            onChange={(event) => setIsShared(event.currentTarget.checked)}
          />
          <Failed error={making.error} />
          <DialogButtons action={texts.folders.createNow} onCancel={onClose} isBusy={making.isPending} />
        </Stack>
      </form>
    </Dialog>
  );
}
