import { Button, Group, Loader, Text } from '@mantine/core';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { Failure } from '../api/failure';
import type { components } from '../api/schema';
import { useBuckets } from '../files/BucketList';
import { sizeText, timeText } from '../files/format';
import { heldLocks } from '../files/uploads';
import type { Account } from '../session/session';
import { DataRow, DataTable } from '../shell/DataTable';
import { Failed } from '../shell/Failed';
import { useNotices } from '../shell/notices';
import { PageHead } from '../shell/PageHead';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts } from '../texts';
import { DaysDialog } from './DaysDialog';
import { RemoveDialog } from './RemoveDialog';
import { RestoreDialog } from './RestoreDialog';

type Entry = components['schemas']['TrashEntry'];
type Open = { kind: 'empty' | 'days' } | { kind: 'remove' | 'restore'; entry: Entry };

const PAGE = 100;

/** A bucket's deleted files: restore them, or remove them for good. */
export function TrashPage({ account, bucket }: { account: Account; bucket: string }) {
  const texts = useTexts();
  const { say, complain } = useNotices();
  const cache = useQueryClient();
  const [open, setOpen] = useState<Open>();
  const found = useTrash(bucket);
  const isOwner = useBuckets().data?.buckets.some(({ name, owner }) => name === bucket && owner === account.name);
  const canWrite = !account.readOnly;
  const days = found.data?.pages[0]?.days ?? null;
  const close = () => setOpen(undefined);

  async function restore(entry: Entry, toPath?: string): Promise<void> {
    const lock_number = heldLocks.numberOf(bucket, entry.path) ?? null;
    const body = { path: entry.path, marker: entry.marker, to_path: toPath ?? null, lock_number };
    await data(api.POST('/api/v1/trash/{bucket}/restore', { params: { path: { bucket } }, body }));
    say(texts.trash.restored(toPath ?? entry.path));
    await cache.invalidateQueries({ queryKey: ['trash', bucket] });
  }
  function restoreOrAsk(entry: Entry): void {
    restore(entry).catch((error: unknown) => {
      if (error instanceof Failure && error.problem.code === 'already_exists') setOpen({ kind: 'restore', entry });
      else complain(error);
    });
  }

  return (
    <div className="scrolled">
      <PageHead title={texts.trash.title(bucket)}>
        <Group gap="xs">
          <PlaceLink to={{ page: 'files', bucket, folder: '' }}>{texts.trash.back}</PlaceLink>
          {canWrite && (isOwner || account.administers) && (
            <Button size="xs" variant="default" onClick={() => setOpen({ kind: 'days' })}>
              {texts.trash.change}
            </Button>
          )}
          {canWrite && found.entries.length > 0 && (
            <Button size="xs" color="red" variant="light" onClick={() => setOpen({ kind: 'empty' })}>
              {texts.trash.empty}
            </Button>
          )}
        </Group>
      </PageHead>
      <Text size="sm" c="dimmed" mb="xs" role="status">
        {found.isSuccess && (days === null ? texts.trash.keptByHand : texts.trash.keptFor(days))}{' '}
        {found.totals && texts.trash.totals(found.totals.files, sizeText(found.totals.bytes, texts.locale))}
      </Text>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.isSuccess && found.entries.length === 0 && !found.hasNextPage && <Text>{texts.trash.none}</Text>}
      {found.entries.length > 0 && (
        <DataTable label={texts.trash.title(bucket)} columns={Object.values(texts.trash.columns)}>
          {found.entries.map((entry) => (
            <EntryRow
              key={entry.marker}
              entry={entry}
              onRestore={canWrite ? restoreOrAsk : undefined}
              onRemove={(one) => setOpen({ kind: 'remove', entry: one })}
            />
          ))}
        </DataTable>
      )}
      {found.hasNextPage && (
        <Button my="sm" variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
          {texts.app.more}
        </Button>
      )}
      {open?.kind === 'empty' && <RemoveDialog bucket={bucket} onClose={close} />}
      {open?.kind === 'remove' && <RemoveDialog bucket={bucket} entry={open.entry} onClose={close} />}
      {open?.kind === 'days' && <DaysDialog bucket={bucket} days={days} onClose={close} />}
      {open?.kind === 'restore' && (
        <RestoreDialog path={open.entry.path} restore={(toPath) => restore(open.entry, toPath)} onClose={close} />
      )}
    </div>
  );
}

function useTrash(bucket: string) {
  const params = { path: { bucket } };
  const found = useInfiniteQuery({
    queryKey: ['trash', bucket, 'list'],
    queryFn: ({ pageParam, signal }) => {
      const query = { limit: PAGE, ...(pageParam && { cursor: pageParam }) };
      return data(api.GET('/api/v1/trash/{bucket}', { params: { ...params, query }, signal }));
    },
    initialPageParam: '',
    getNextPageParam: (page) => page.next_after,
  });
  const totals = useQuery({
    queryKey: ['trash', bucket, 'totals'],
    queryFn: () => data(api.GET('/api/v1/trash/{bucket}/totals', { params })),
    retry: false, // not everybody who may list the trash may know its size
  });
  return { ...found, entries: found.data?.pages.flatMap(({ entries }) => entries) ?? [], totals: totals.data };
}

interface RowProps {
  entry: Entry;
  /** Not there for people who may not change anything. */
  onRestore?: (entry: Entry) => void;
  onRemove: (entry: Entry) => void;
}

function EntryRow({ entry, onRestore, onRemove }: RowProps) {
  const texts = useTexts();
  return (
    <DataRow
      cells={[
        entry.path,
        sizeText(entry.bytes, texts.locale),
        timeText(entry.deleted_at, texts.locale),
        entry.deleted_by,
        entry.ends_at ? timeText(entry.ends_at, texts.locale) : '',
      ]}
      actions={
        onRestore && (
          <Group gap="xs">
            <Button size="compact-sm" aria-label={texts.trash.restoreOne(entry.path)} onClick={() => onRestore(entry)}>
              {texts.trash.restore}
            </Button>
            <Button
              size="compact-sm"
              color="red"
              variant="light"
              aria-label={texts.trash.removeOne(entry.path)}
              onClick={() => onRemove(entry)}
            >
              {texts.trash.remove}
            </Button>
          </Group>
        )
      }
    />
  );
}
