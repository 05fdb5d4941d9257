import { Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';

import { failure } from '../api/failure';
import { sizeText } from '../files/format';
import { Dialog } from '../shell/Dialog';
import { CloseDialogButton, DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { useTexts, words } from '../texts';
import { type Emptied, emptyTrash, removeForGood } from './emptying';

const MOST_NAMED = 5;

interface Props {
  bucket: string;
  /** The deleted file; without one, the whole trash. */
  entry?: { path: string; marker: string; bytes: number };
  onClose: () => void;
}

/** Asks before deleted files are removed for good, shows how far that is, and names what had to stay. */
export function RemoveDialog({ bucket, entry, onClose }: Props) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [soFar, setSoFar] = useState<Emptied>();
  const ended = useRef(new AbortController());
  useEffect(() => {
    const controller = new AbortController();
    ended.current = controller;
    return () => controller.abort();
  }, []);
  const remove = useMutation({
    mutationFn: async (): Promise<Emptied> => {
      if (!entry) return emptyTrash(bucket, setSoFar, ended.current.signal);
      const kept = await removeForGood(bucket, entry.path, entry.marker);
      return { removed: kept ? 0 : 1, bytes: entry.bytes, kept: kept ? [kept] : [] };
    },
    onSuccess: ({ kept }) => kept.length === 0 && onClose(),
    onSettled: () => cache.invalidateQueries({ queryKey: ['trash', bucket] }),
  });
  const kept = remove.data?.kept ?? [];
  return (
    <Dialog title={entry ? texts.trash.removeTitle : texts.trash.emptyTitle} onClose={onClose}>
      <Text className="breakable">{entry ? texts.trash.removeText(entry.path) : texts.trash.emptyText(bucket)}</Text>
      <Failed error={remove.error} />
      {remove.isPending && soFar && (
        <Text role="status" size="sm" mt="sm">
          {texts.trash.progress(soFar.removed, sizeText(soFar.bytes, texts.locale))}
        </Text>
      )}
      {kept.length > 0 && (
        <div role="alert">
          <Text c="var(--mantine-color-error)" mt="sm">
            {texts.trash.kept(kept.length)}
          </Text>
          <ul className="breakable">
            {kept.slice(0, MOST_NAMED).map(({ path, problem }) => (
              <li key={path}>
                {path}: {words(failure(problem.status, problem), texts)}
              </li>
            ))}
          </ul>
        </div>
      )}
      {remove.isSuccess ? (
        <CloseDialogButton onClose={onClose} />
      ) : (
        <DialogButtons
          action={entry ? texts.trash.remove : texts.trash.empty}
          onAction={() => remove.mutate()}
          onCancel={onClose}
          isBusy={remove.isPending}
          isDangerous
        />
      )}
    </Dialog>
  );
}
