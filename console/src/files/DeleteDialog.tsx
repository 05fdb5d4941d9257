import { Button, Group, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';

import { api, data } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { useNotices } from '../shell/notices';
import { useTexts, words } from '../texts';
import type { Entry } from './entries';
import { heldLocks } from './uploads';

interface Props {
  bucket: string;
  entry: Entry;
  keepsVersions: boolean;
  onClose: () => void;
}

/** Asks before a file is deleted, and says whether it can come back. */
export function DeleteDialog({ bucket, entry, keepsVersions, onClose }: Props) {
  const texts = useTexts();
  const { say } = useNotices();
  const cache = useQueryClient();
  const remove = useMutation({
    mutationFn: () => {
      const lock = heldLocks.numberOf(bucket, entry.path);
      return data(
        api.DELETE('/api/v1/files/{bucket}/{path}', {
          params: {
            path: { bucket, path: entry.path },
            header: lock === undefined ? {} : { 'X-Lockstep-Lock': lock },
          },
        }),
      );
    },
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['files', bucket] });
      say(texts.files.deleted(entry.name));
      onClose();
    },
  });
  const explained = keepsVersions ? texts.files.confirmVersioned : texts.files.confirmForGood;
  return (
    <Dialog title={texts.files.confirmTitle} onClose={onClose}>
      <Text className="breakable">{explained(entry.name)}</Text>
      {remove.isError && (
        <Text role="alert" c="var(--mantine-color-error)" mt="sm">
          {words(remove.error, texts)}
        </Text>
      )}
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose} data-autofocus>
          {texts.app.cancel}
        </Button>
        <Button color="red" loading={remove.isPending} onClick={() => remove.mutate()}>
          {texts.files.remove}
        </Button>
      </Group>
    </Dialog>
  );
}
