import { Radio, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, data } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';

const USUAL_DAYS = 30;
const MOST_DAYS = 36_500;

interface Props {
  bucket: string;
  days: number | null;
  onClose: () => void;
}

/** Sets for how long deleted files can be restored. */
export function DaysDialog({ bucket, days, onClose }: Props) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [ends, setEnds] = useState(days !== null);
  const [wanted, setWanted] = useState(String(days ?? USUAL_DAYS));
  const isBad = ends && !(Number.isInteger(Number(wanted)) && Number(wanted) >= 1 && Number(wanted) <= MOST_DAYS);
  const save = useMutation({
    mutationFn: () =>
      data(
        api.PUT('/api/v1/trash/{bucket}', {
          params: { path: { bucket } },
          body: { days: ends ? Number(wanted) : null },
        }),
      ),
    onSuccess: onClose,
    onSettled: () => cache.invalidateQueries({ queryKey: ['trash', bucket] }),
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (!isBad) save.mutate();
  }
  return (
    <Dialog title={texts.trash.daysTitle} onClose={onClose}>
      <form onSubmit={submit}>
        <Radio.Group
          label={texts.trash.daysLabel}
          value={ends ? 'days' : 'hand'}
          onChange={(value) => setEnds(value === 'days')}
        >
          <Stack gap="xs" my="xs">
            <Radio value="hand" label={texts.trash.byHand} />
            <Radio value="days" label={texts.trash.afterDays} />
          </Stack>
        </Radio.Group>
        {ends && (
          <TextInput
            label={texts.trash.days}
            inputMode="numeric"
            value={wanted}
            onChange={(event) => setWanted(event.currentTarget.value)}
            error={isBad && texts.trash.badDays}
          />
        )}
        <Text size="sm" c="dimmed" mt="xs">
          {texts.trash.daysHint}
        </Text>
        <Failed error={save.error} />
        <DialogButtons action={texts.app.save} onCancel={onClose} isBusy={save.isPending} isDisabled={isBad} />
      </form>
    </Dialog>
  );
}
