import { Badge, Button, Group, Loader, Paper, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';

import { api, data } from '../api/client';
import type { Account } from '../session/session';
import { Failed } from '../shell/Failed';
import { BucketIcon } from '../shell/icons';
import { PageHead } from '../shell/PageHead';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts } from '../texts';
import type { BucketPart } from './BucketDialog';
import { SharedWithMe } from './SharedWithMe';

const NewBucketDialog = lazy(() => import('./NewBucketDialog').then((part) => ({ default: part.NewBucketDialog })));
const LifecycleDialog = lazy(() =>
  import('../lifecycle/LifecycleDialog').then((part) => ({ default: part.LifecycleDialog })),
);
const PolicyDialog = lazy(() => import('../policy/PolicyDialog').then((part) => ({ default: part.PolicyDialog })));
const BucketDialog = lazy(() => import('./BucketDialog').then((part) => ({ default: part.BucketDialog })));

export function useBuckets() {
  return useQuery({ queryKey: ['buckets'], queryFn: () => data(api.GET('/api/v1/buckets')) });
}

/** The buckets that the account may use. */
export function BucketList({ account }: { account: Account }) {
  const texts = useTexts();
  const found = useBuckets();
  const buckets = found.data?.buckets ?? [];
  const [open, setOpen] = useState<{ kind: 'new' } | { kind: 'settings' | BucketPart; name: string }>();
  const opened = open?.kind === 'settings' ? buckets.find(({ name }) => name === open.name) : undefined;
  const close = () => setOpen(undefined);
  return (
    <div className="scrolled">
      <PageHead title={texts.files.buckets}>
        <Group gap="sm">
          <PlaceLink to={{ page: 'usage', bucket: '' }}>{texts.files.usage}</PlaceLink>
          {!account.readOnly && (
            <Button size="xs" onClick={() => setOpen({ kind: 'new' })}>
              {texts.buckets.create}
            </Button>
          )}
        </Group>
      </PageHead>
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isSuccess && buckets.length === 0 && <Text>{texts.files.noBuckets}</Text>}
      <ul className="buckets" aria-label={texts.files.buckets}>
        {buckets.map((bucket) => (
          <Paper component="li" key={bucket.name} withBorder p="sm" className="bucket">
            <BucketIcon />
            <PlaceLink to={{ page: 'files', bucket: bucket.name, folder: '' }} className="entry-name">
              {bucket.name}
            </PlaceLink>
            <Group gap="xs" ml="auto">
              <Badge variant="default" tt="none">
                {bucket.shared ? texts.files.bucketShared : texts.files.bucketPrivate}
              </Badge>
              {bucket.versioning === 'enabled' && (
                <Badge variant="default" tt="none">
                  {texts.files.versioned}
                </Badge>
              )}
              {bucket.versioning !== 'off' && (
                <PlaceLink to={{ page: 'trash', bucket: bucket.name }} label={`${texts.trash.open}: ${bucket.name}`}>
                  {texts.trash.open}
                </PlaceLink>
              )}
              {!account.readOnly && (account.administers || bucket.owner === account.name) && (
                <Button
                  size="compact-sm"
                  variant="default"
                  aria-label={`${texts.buckets.settings}: ${bucket.name}`}
                  onClick={() => setOpen({ kind: 'settings', name: bucket.name })}
                >
                  {texts.buckets.settings}
                </Button>
              )}
            </Group>
          </Paper>
        ))}
      </ul>
      <SharedWithMe />
      <Suspense>
        {open?.kind === 'new' && <NewBucketDialog onClose={close} />}
        {opened && (
          <BucketDialog
            bucket={opened}
            open={(kind) => setOpen({ kind, name: opened.name })}
            onClose={close}
          />
        )}
        {open?.kind === 'lifecycle' && <LifecycleDialog bucket={open.name} onClose={close} />}
        {open?.kind === 'policy' && <PolicyDialog bucket={open.name} onClose={close} />}
      </Suspense>
    </div>
  );
}
