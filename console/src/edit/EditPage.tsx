import { Alert, Button, Group, Loader, Text, Textarea } from '@mantine/core';
import { type KeyboardEvent, useEffect, useId } from 'react';

import { fileAddress } from '../api/client';
import { folderOf } from '../files/folders';
import { clockText } from '../files/format';
import { goTo } from '../router';
import type { Account } from '../session/session';
import { Failed } from '../shell/Failed';
import { useNotices } from '../shell/notices';
import { PageHead } from '../shell/PageHead';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts } from '../texts';
import { NoText } from './content';
import { useEditing } from './useEditing';

interface Props {
  account: Account;
  bucket: string;
  path: string;
}

/** A text file, edited in place. It can be changed only while the account has its lock. */
export function EditPage({ account, bucket, path }: Props) {
  const texts = useTexts();
  const { say } = useNotices();
  const editing = useEditing(account, bucket, path);
  const folder = folderOf(path);
  const name = path.slice(folder.length);
  const hint = useId();
  const canEdit = editing.stage === 'editing' && !editing.newer;
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => editing.isChanged && event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [editing.isChanged]);

  async function save(closes: boolean) {
    if (!(await editing.store(closes))) return;
    say(texts.edit.saved(name));
    if (closes) goTo({ page: 'files', bucket, folder });
  }
  function onKey(event: KeyboardEvent) {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 's') return;
    event.preventDefault();
    if (canEdit && editing.isChanged && !editing.isSaving) void save(false);
  }
  return (
    <div className="editor" onKeyDown={onKey}>
      <PageHead title={name}>
        <Group gap="xs">
          <PlaceLink to={{ page: 'files', bucket, folder }}>{`${bucket}/${folder}`}</PlaceLink>
          {canEdit && (
            <>
              <Button size="xs" disabled={!editing.isChanged} loading={editing.isSaving} onClick={() => void save(false)}>
                {texts.edit.save}
              </Button>
              <Button size="xs" variant="default" disabled={editing.isSaving} onClick={() => void save(true)}>
                {texts.edit.saveAndClose}
              </Button>
              {editing.isChanged && (
                <Button size="xs" variant="default" onClick={() => editing.setText(editing.base?.text ?? '')}>
                  {texts.edit.discard}
                </Button>
              )}
            </>
          )}
        </Group>
      </PageHead>
      <Situation editing={editing} bucket={bucket} path={path} account={account} />
      {editing.base ? (
        <Textarea
          aria-label={texts.edit.field(name)}
          aria-describedby={hint}
          className="editor-text"
          value={editing.text}
          onChange={(event) => editing.setText(event.currentTarget.value)}
          readOnly={!canEdit}
          spellCheck={false}
        />
      ) : (
        editing.stage === 'opening' && <Loader aria-label={texts.app.loading} />
      )}
      <Text id={hint} size="sm" c="dimmed" role="status">
        {editing.isChanged ? texts.edit.unsaved : editing.stage === 'editing' && texts.edit.hint}
      </Text>
    </div>
  );
}

type SituationProps = Props & { editing: ReturnType<typeof useEditing> };

/** Why the text cannot be changed just now, and what to do; nothing while it can. */
function Situation({ editing, account, bucket, path }: SituationProps) {
  const texts = useTexts();
  const { stage, holder, place, problem, newer, settle, take } = editing;
  if (problem instanceof NoText) {
    return (
      <Alert role="alert" mb="xs">
        {texts.edit.noText}{' '}
        <Button component="a" size="compact-sm" variant="default" href={fileAddress(bucket, path)} download>
          {texts.files.download}
        </Button>
      </Alert>
    );
  }
  if (stage === 'waiting') {
    const who = holder?.account === account.name ? texts.edit.yourself(holder.client) : (holder?.account ?? '?');
    return (
      <Alert role="status" mb="xs">
        {holder && texts.edit.held(who, clockText(holder.since_at, texts.locale), clockText(holder.until_at, texts.locale))}{' '}
        {place && texts.edit.place(place.place)}{' '}
        <Button size="compact-sm" variant="default" onClick={() => goTo({ page: 'files', bucket, folder: folderOf(path) })}>
          {texts.locks.giveUp}
        </Button>
      </Alert>
    );
  }
  if (stage === 'lost') {
    return (
      <Alert color="red" role="alert" mb="xs">
        {texts.edit.lost(editing.isChanged)}{' '}
        <Button size="compact-sm" variant="default" onClick={take}>
          {texts.edit.takeAgain}
        </Button>
        <Failed error={problem} />
      </Alert>
    );
  }
  if (newer) {
    return (
      <Alert color="red" role="alert" mb="xs">
        {texts.edit.newer}{' '}
        <Button size="compact-sm" variant="default" onClick={() => settle(true)}>
          {texts.edit.keepMine}
        </Button>{' '}
        <Button size="compact-sm" variant="default" onClick={() => settle(false)}>
          {texts.edit.takeTheirs}
        </Button>
      </Alert>
    );
  }
  return <Failed error={problem} onRetry={stage === 'failed' && editing.base ? take : undefined} />;
}
