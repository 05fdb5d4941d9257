import { Button, Group, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';

import { api, data } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { useTexts, words } from '../texts';
import { type Lock, pathsText } from './useLocks';

/** An administrator takes a lock from its holder. */
export function BreakDialog({ lock, onClose }: { lock: Lock; onClose: () => void }) {
  const texts = useTexts();
  const taking = useMutation({
    mutationFn: () =>
      data(api.DELETE('/api/v1/locks/{id}', { params: { path: { id: lock.id }, query: { break: true } } })),
    onSuccess: onClose,
  });
  return (
    <Dialog title={texts.locks.breakTitle} onClose={onClose}>
      <Text className="breakable" fw={600}>
        {pathsText(lock)}
      </Text>
      <Text mt="xs">{texts.locks.breakText(lock.account)}</Text>
      {taking.isError && (
        <Text role="alert" c="var(--mantine-color-error)" mt="sm">
          {words(taking.error, texts)}
        </Text>
      )}
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose} data-autofocus>
          {texts.app.cancel}
        </Button>
        <Button color="red" loading={taking.isPending} onClick={() => taking.mutate()}>
          {texts.locks.breakNow}
        </Button>
      </Group>
    </Dialog>
  );
}
