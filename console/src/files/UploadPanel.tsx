import { Button, Group, Paper, Progress, Text, Title } from '@mantine/core';
import { useEffect, useSyncExternalStore } from 'react';

import { useTexts, words } from '../texts';
import type { Texts } from '../texts/en';
import { isUnderWay, shareSent, type Upload, type Uploads } from './uploads';

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
  const share = shareSent(list);
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
      {list.length > 1 && done < list.length && (
        <Progress value={share * 100} mt="xs" aria-label={texts.uploads.overall(Math.floor(share * 100))} />
      )}
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
  const { id, path, state, progress, problem } = upload;
  const canRepeat = state === 'paused' || (state === 'failed' && problem?.problem.code !== 'file_changed');
  return (
    <li className="upload" data-state={state}>
      <Text size="sm" truncate title={path}>
        {path}
      </Text>
      <Text size="sm" c={state === 'failed' ? 'var(--mantine-color-error)' : undefined}>
        {said(upload, texts)}
      </Text>
      {isUnderWay(upload) && (
        <Button
          size="compact-xs"
          variant="default"
          aria-label={texts.uploads.pauseOne(path)}
          onClick={() => uploads.pause(id)}
        >
          {texts.uploads.pause}
        </Button>
      )}
      {state === 'exists' && (
        <Button size="compact-xs" variant="default" onClick={() => uploads.resume(id, true)}>
          {texts.uploads.replace}
        </Button>
      )}
      {canRepeat && (
        <Button size="compact-xs" variant="default" onClick={() => uploads.resume(id, false)}>
          {state === 'paused' ? texts.uploads.resume : texts.app.retry}
        </Button>
      )}
      {(state === 'cutting' || state === 'sending') && (
        <Progress value={progress * 100} size="xs" className="upload-bar" aria-label={path} />
      )}
    </li>
  );
}

function said({ state, progress, problem }: Upload, texts: Texts): string {
  if (state === 'failed') return problem?.problem.status === 401 ? texts.uploads.logInEnded : words(problem, texts);
  if (state === 'retrying') return `${words(problem, texts)} ${texts.uploads.retrying}`;
  if (state === 'cutting') return texts.uploads.cutting(Math.floor(progress * 100));
  return state === 'sending' ? texts.uploads.sending(Math.floor(progress * 100)) : texts.uploads[state];
}
