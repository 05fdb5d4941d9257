import { Button, Checkbox, Group, Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, data } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { Failed } from '../shell/Failed';
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
          <TextInput
            label={texts.buckets.name}
            description={texts.buckets.nameHint}
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            autoCapitalize="none"
            autoComplete="off"
            spellCheck={false}
            maxLength={63}
            required
            withAsterisk={false}
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
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              {texts.app.cancel}
            </Button>
            <Button type="submit" loading={making.isPending}>
              {texts.folders.createNow}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
