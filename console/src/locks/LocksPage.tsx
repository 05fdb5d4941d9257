import { Button, Group, Loader, Text, TextInput } from '@mantine/core';
import { useState } from 'react';

import { api, data } from '../api/client';
import { useBuckets } from '../files/BucketList';
import { clockText } from '../files/format';
import type { Account } from '../session/session';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { Failed } from '../shell/Failed';
import { PageHead } from '../shell/PageHead';
import { useTexts } from '../texts';
import { useLockActions } from './actions';
import { keyOf, type Lock, type Locks, pathsText, useLocks } from './useLocks';

const LIVE_MILLISECONDS = 700;

/** Who edits what, since when, and who waits for it. */
export function LocksPage({ account }: { account: Account }) {
  const texts = useTexts();
  const locks = useLocks(account, LIVE_MILLISECONDS);
  const [breaking, setBreaking] = useState<Lock>();
  const buckets = useBuckets();
  const owned = new Set(buckets.data?.buckets.filter(({ owner }) => owner === account.name).map(({ name }) => name));
  const mayBreak = (lock: Lock) => account.administers || lock.paths.some(({ bucket }) => owned.has(bucket));
  return (
    <div className="scrolled">
      <PageHead title={texts.locks.title}>
        <Text size="sm" c="dimmed">
          {texts.locks.live}
        </Text>
      </PageHead>
      {locks.isPending && <Loader aria-label={texts.app.loading} />}
      <Failed error={locks.error} />
      {!locks.isPending && locks.locks.length === 0 && <Text>{texts.locks.none}</Text>}
      {locks.locks.length > 0 && (
        <DataTable label={texts.locks.title} columns={Object.values(texts.locks.columns)}>
          {locks.locks.map((lock) => (
            <LockRow key={lock.id} lock={lock} locks={locks} account={account} onBreak={mayBreak(lock) ? setBreaking : undefined} />
          ))}
        </DataTable>
      )}
      {breaking && <BreakDialog lock={breaking} onClose={() => setBreaking(undefined)} />}
    </div>
  );
}

function BreakDialog({ lock, onClose }: { lock: Lock; onClose: () => void }) {
  const texts = useTexts();
  const [reason, setReason] = useState('');
  async function breakIt(): Promise<void> {
    const params = { path: { id: lock.id }, query: { break: true, reason: reason.trim() || undefined } };
    await data(api.DELETE('/api/v1/locks/{id}', { params }));
  }
  return (
    <ConfirmDialog
      title={texts.locks.breakTitle}
      text={texts.locks.breakText(lock.account, pathsText(lock))}
      action={texts.locks.breakNow}
      run={breakIt}
      onClose={onClose}
    >
      <TextInput
        mt="sm"
        label={texts.locks.reason}
        description={texts.locks.reasonHint(lock.account)}
        value={reason}
        onChange={(event) => setReason(event.currentTarget.value)}
        autoComplete="off"
        maxLength={256}
        data-autofocus
      />
    </ConfirmDialog>
  );
}

interface RowProps {
  lock: Lock;
  locks: Locks;
  account: Account;
  /** Not there for people who may not break it. */
  onBreak?: (lock: Lock) => void;
}

function LockRow({ lock, locks, account, onBreak }: RowProps) {
  const texts = useTexts();
  const { take, release, giveUp } = useLockActions();
  const isMine = lock.account === account.name;
  const paths = new Set(lock.paths.map(keyOf));
  const line = locks.waiters.filter((waiter) => waiter.paths.some((path) => paths.has(keyOf(path))));
  const place = line.find((waiter) => waiter.account === account.name);
  const first = lock.paths[0];
  return (
    <DataRow
      cells={[
        pathsText(lock),
        <>
          {isMine ? `${lock.account} (${texts.locks.you})` : lock.account}
          {lock.client && (
            <Text span size="sm" c="dimmed">
              {' '}
              {lock.client}
            </Text>
          )}
        </>,
        clockText(lock.since_at, texts.locale),
        clockText(lock.until_at, texts.locale),
        line.length === 0 ? texts.locks.nobodyWaits : <Line waiters={line} account={account} />,
      ]}
      actions={
        <Group gap="xs">
          {isMine && (
            <Button size="compact-sm" onClick={() => void release(lock)}>
              {texts.locks.release}
            </Button>
          )}
          {!isMine && !account.readOnly && !place && first && (
            <Button size="compact-sm" variant="default" onClick={() => void take(first.bucket, first.path)}>
              {texts.locks.wait}
            </Button>
          )}
          {place && (
            <Button size="compact-sm" variant="default" onClick={() => void giveUp(place)}>
              {texts.locks.giveUp}
            </Button>
          )}
          {onBreak && !isMine && (
            <Button size="compact-sm" color="red" variant="light" onClick={() => onBreak(lock)}>
              {texts.locks.break}
            </Button>
          )}
        </Group>
      }
    />
  );
}

function Line({ waiters, account }: { waiters: Locks['waiters']; account: Account }) {
  const texts = useTexts();
  return (
    <ol className="line">
      {waiters.map((waiter) => (
        <li key={waiter.id}>
          {waiter.account === account.name ? `${texts.locks.you}, ${texts.locks.place(waiter.place)}` : waiter.account}
        </li>
      ))}
    </ol>
  );
}
