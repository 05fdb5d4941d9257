import { Button, CloseButton, Group, Paper, Progress, Text, Title } from '@mantine/core';
import { useEffect, useSyncExternalStore } from 'react';

import { useTexts, words } from '../texts';
import type { Texts } from '../texts/en';
import type { Upload, Uploads } from './uploads';

/** The uploads of this tab and how far they are. Not there without any. */
export function UploadPanel({ uploads }: { uploads: Uploads }) {
  const texts = useTexts();
  const list = useSyncExternalStore(uploads.subscribe, uploads.list);
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => uploads.isActive && event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [uploads]);
  if (list.length === 0) return null;
  const done = list.filter(({ state }) => state === 'done').length;
  return (
    <Paper component="section" withBorder p="xs" mt="xs" aria-labelledby="uploads-title" className="uploads">
      <Group justify="space-between" wrap="nowrap">
        <Title order={2} size="h6" id="uploads-title">
          {texts.uploads.title}: <span aria-live="polite">{texts.uploads.summary(done, list.length)}</span>
        </Title>
        <Button size="compact-sm" variant="default" onClick={() => uploads.clear()}>
          {texts.uploads.clear}
        </Button>
      </Group>
      <ul className="upload-list" tabIndex={0} aria-labelledby="uploads-title">
        {list.slice(-200).map((upload) => (
          <UploadRow key={upload.id} upload={upload} uploads={uploads} />
        ))}
      </ul>
    </Paper>
  );
}

function UploadRow({ upload, uploads }: { upload: Upload; uploads: Uploads }) {
  const texts = useTexts();
  const { id, path, state, progress } = upload;
  const canStop = state === 'waiting' || state === 'sending';
  return (
    <li className="upload" data-state={state}>
      <Text size="sm" truncate title={path}>
        {path}
      </Text>
      <Text size="sm" c={state === 'failed' ? 'var(--mantine-color-error)' : undefined}>
        {said(upload, texts)}
      </Text>
      {canStop && <CloseButton size="sm" aria-label={texts.uploads.stop(path)} onClick={() => uploads.stop(id)} />}
      {state === 'exists' && (
        <Button size="compact-xs" variant="default" onClick={() => uploads.repeat(id, true)}>
          {texts.uploads.replace}
        </Button>
      )}
      {(state === 'failed' || state === 'stopped') && (
        <Button size="compact-xs" variant="default" onClick={() => uploads.repeat(id, false)}>
          {texts.uploads.retry}
        </Button>
      )}
      {state === 'sending' && <Progress value={progress * 100} size="xs" className="upload-bar" aria-label={path} />}
    </li>
  );
}

function said({ state, progress, problem }: Upload, texts: Texts): string {
  if (state === 'failed') return words(problem, texts);
  if (state === 'exists') return texts.uploads.exists;
  return state === 'sending' ? texts.uploads.sending(Math.floor(progress * 100)) : texts.uploads[state];
}
