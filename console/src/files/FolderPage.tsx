import { Breadcrumbs, Button, FileButton, Group, Loader, Text } from '@mantine/core';
import { type DragEvent, lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from 'react';

import { LockBadge } from '../locks/LockMarks';
import { useLocks } from '../locks/useLocks';
import { NO_SEARCH } from '../router';
import type { Account } from '../session/session';
import { Failed } from '../shell/Failed';
import { FilterField } from '../shell/FilterField';
import { useNotices } from '../shell/notices';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts } from '../texts';
import { isPackable, toggled } from './archives';
import { useBuckets } from './BucketList';
import { DeleteDialog } from './DeleteDialog';
import { chosenFiles, droppedFiles, type Picked } from './dropped';
import { BY_NAME, type Entry, type Order } from './entries';
import { EntryMenu, type Question } from './EntryMenu';
import { FileTable } from './FileTable';
import { FolderDialog } from './FolderDialog';
import { PackButton } from './PackButton';
import { UploadPanel } from './UploadPanel';
import { Uploads } from './uploads';
import { useChanges } from './useChanges';
import { useListing } from './useListing';
import { VersionsDialog } from './VersionsDialog';

const FactsDialog = lazy(() => import('../facts/FactsDialog').then((part) => ({ default: part.FactsDialog })));
const ShareDialog = lazy(() => import('../sharing/ShareDialog').then((part) => ({ default: part.ShareDialog })));
const uploads = new Uploads();
const LOCKS_MILLISECONDS = 2000;

interface Props {
  account: Account;
  bucket: string;
  folder: string;
}

/** One folder: its entries, and what can be done with them. */
export function FolderPage({ account, bucket, folder }: Props) {
  const texts = useTexts();
  const { complain } = useNotices();
  const [filter, setFilter] = useState('');
  const [order, setOrder] = useState<Order>(BY_NAME);
  const [isOver, setIsOver] = useState(false);
  const [dialog, setDialog] = useState<{ kind: Question; entry: Entry }>();
  const [sharing, setSharing] = useState<string>();
  const [isCreating, setIsCreating] = useState(false);
  const [selected, setChosen] = useState<ReadonlySet<string>>(new Set());
  const lastChosen = useRef(0);
  const buckets = useBuckets();
  const listing = useListing(bucket, folder, filter, order, texts.locale);
  const locks = useLocks(account, LOCKS_MILLISECONDS);
  useChanges(bucket, folder, listing.isSuccess);
  const canWrite = !account.readOnly;
  // What is filtered out or gone is not selected: a download has what the person sees.
  const chosenEntries = useMemo(() => listing.shown.filter(({ path }) => selected.has(path)), [listing.shown, selected]);
  const chosen = useMemo(() => new Set(chosenEntries.map(({ path }) => path)), [chosenEntries]);
  const versioning = buckets.data?.buckets.find(({ name }) => name === bucket)?.versioning;
  const keepsVersions = versioning && versioning === 'enabled';
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = listing;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);

  function add(picked: Picked[]) {
    uploads.add(
      bucket,
      picked.map(({ path, file }) => ({ path: folder + path, file })),
    );
  }
  function drop(event: DragEvent) {
    event.preventDefault();
    setIsOver(false);
    if (canWrite) droppedFiles(event.dataTransfer).then(add, complain);
  }
  function drag(event: DragEvent) {
    event.preventDefault();
    setIsOver(canWrite && event.dataTransfer.types.includes('Files'));
  }

  return (
    <div className="folder" data-over={isOver || undefined} onDrop={drop} onDragOver={drag} onDragLeave={() => setIsOver(false)}>
      <Head bucket={bucket} folder={folder}>
        {canWrite && (
          <UploadButtons onFiles={(files) => add(chosenFiles(files))} onNewFolder={() => setIsCreating(true)} />
        )}
      </Head>
      <Group gap="sm" mb="xs">
        <FilterField label={texts.files.filter} value={filter} onChange={setFilter} />
        <Text size="sm" c="dimmed" role="status">
          {remark(listing, texts)}
        </Text>
        {versioning && versioning !== 'off' && (
          <PlaceLink to={{ page: 'trash', bucket }} className="beside">
            {texts.trash.open}
          </PlaceLink>
        )}
        <Button size="compact-sm" variant="default" onClick={() => setSharing(folder)}>
          {folder ? texts.sharing.shareFolder : texts.sharing.shareBucket}
        </Button>
        {listing.shown.length > 0 && (
          <PackButton
            {...{ bucket, folder }}
            chosen={chosenEntries}
            isAll={!filter && !hasNextPage && chosen.size === listing.shown.length}
            onClear={() => setChosen(new Set())}
          />
        )}
      </Group>
      {isOver && (
        <div className="drop-here" aria-hidden="true">
          {texts.files.dropHere}
        </div>
      )}
      {listing.isPending && <Loader aria-label={texts.app.loading} />}
      <Failed error={listing.error} onRetry={() => void listing.refetch()} />
      {listing.isSuccess && listing.shown.length === 0 && !hasNextPage && (
        <Text my="xl" ta="center">
          {filter ? texts.files.noMatch : texts.files.empty}{' '}
          {filter && (
            <PlaceLink to={{ page: 'search', search: { ...NO_SEARCH, text: filter, bucket } }}>
              {texts.files.searchInstead}
            </PlaceLink>
          )}
        </Text>
      )}
      {listing.shown.length > 0 && (
        <FileTable
          bucket={bucket}
          entries={listing.shown}
          order={order}
          onOrder={setOrder}
          onEnd={onEnd}
          onDelete={(entry) => canWrite && setDialog({ kind: 'delete', entry })}
          badge={(entry) => <LockBadge lock={locks.lockOn(bucket, entry.path)} account={account} />}
          chosen={chosen}
          onChoose={(index, isRange) => {
            setChosen(toggled(chosen, listing.shown, index, isRange ? lastChosen.current : index));
            lastChosen.current = index;
          }}
          onChooseAll={(isChosen) =>
            setChosen(new Set(isChosen ? listing.shown.filter(isPackable).map(({ path }) => path) : []))
          }
          menu={(entry) => (
            <EntryMenu
              {...{ account, bucket, folder, entry, locks }}
              onShare={() => setSharing(entry.path)}
              ask={(kind) => setDialog({ kind, entry })}
            />
          )}
        />
      )}
      <UploadPanel uploads={uploads} />
      {dialog?.kind === 'delete' && (
        <DeleteDialog {...dialog} bucket={bucket} keepsVersions={keepsVersions} onClose={() => setDialog(undefined)} />
      )}
      {sharing !== undefined && (
        <Suspense>
          <ShareDialog bucket={bucket} path={sharing} canMakeLinks={canWrite} onClose={() => setSharing(undefined)} />
        </Suspense>
      )}
      {isCreating && <FolderDialog bucket={bucket} parent={folder} onClose={() => setIsCreating(false)} />}
      {dialog?.kind === 'rename' && (
        <FolderDialog bucket={bucket} parent={folder} name={dialog.entry.name} onClose={() => setDialog(undefined)} />
      )}
      {dialog?.kind === 'facts' && (
        <Suspense>
          <FactsDialog {...dialog} bucket={bucket} canChange={canWrite} onClose={() => setDialog(undefined)} />
        </Suspense>
      )}
      {dialog?.kind === 'versions' && (
        <VersionsDialog {...dialog} bucket={bucket} canRestore={canWrite} onClose={() => setDialog(undefined)} />
      )}
    </div>
  );
}

function Head({ bucket, folder, children }: { bucket: string; folder: string; children: React.ReactNode }) {
  const texts = useTexts();
  const names = folder.split('/').filter(Boolean);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${folder || bucket} – Lockstep`;
  }, [bucket, folder]);
  return (
    <Group justify="space-between" mb="xs" gap="xs">
      <h1 ref={heading} className="path">
        <Breadcrumbs separatorMargin={4}>
          <PlaceLink to={{ page: 'files', bucket: '', folder: '' }}>{texts.files.buckets}</PlaceLink>
          {[bucket, ...names].map((name, index) => {
            if (index === names.length) return <span key={index}>{name}</span>;
            const above = names.slice(0, index).map((part) => `${part}/`);
            return (
              <PlaceLink key={index} to={{ page: 'files', bucket, folder: above.join('') }}>
                {name}
              </PlaceLink>
            );
          })}
        </Breadcrumbs>
      </h1>
      {children}
    </Group>
  );
}

function UploadButtons({ onFiles, onNewFolder }: { onFiles: (files: File[]) => void; onNewFolder: () => void }) {
  const texts = useTexts();
  const forgetFiles = useRef<() => void>(null);
  const forgetFolder = useRef<() => void>(null);
  // A browser does not tell that the same file was chosen again while the button still has it.
  function take(files: File[]) {
    onFiles(files);
    forgetFiles.current?.();
    forgetFolder.current?.();
  }
  return (
    <Group gap="xs">
      <FileButton multiple resetRef={forgetFiles} onChange={take}>
        {(props) => (
          <Button size="xs" {...props}>
            {texts.files.upload}
          </Button>
        )}
      </FileButton>
      <FileButton multiple resetRef={forgetFolder} onChange={take} inputProps={{ webkitdirectory: '' } as object}>
        {(props) => (
          <Button size="xs" variant="default" {...props}>
            {texts.files.uploadFolder}
          </Button>
        )}
      </FileButton>
      <Button size="xs" variant="default" onClick={onNewFolder}>
        {texts.folders.create}
      </Button>
    </Group>
  );
}

function remark(listing: ReturnType<typeof useListing>, texts: ReturnType<typeof useTexts>): string {
  if (!listing.isSuccess) return '';
  if (listing.isLoadingAll) return texts.files.loadingAll(listing.loadedCount);
  if (listing.needsAll && listing.hasNextPage) return texts.files.tooMany(listing.loadedCount);
  return texts.files.count(listing.shown.length, !listing.hasNextPage);
}
