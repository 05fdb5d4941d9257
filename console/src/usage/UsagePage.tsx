import { Group, Loader, NativeSelect, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import type { components } from '../api/schema';
import { useBuckets } from '../files/BucketList';
import { sizeText } from '../files/format';
import { goTo } from '../router';
import type { Account } from '../session/session';
import { choices } from '../shell/choices';
import { Failed } from '../shell/Failed';
import { FactList } from '../shell/FactList';
import { PageHead } from '../shell/PageHead';
import { useTexts } from '../texts';
import { Bars } from './Bars';
import { Growth } from './Growth';
import { useUsageTexts } from './texts';
import { byAge, type Counted, dateText, largest } from './usage';

const MOST_BARS = 12;

/** What is stored in the account's own buckets, for administrators in all; or in one of them. */
export function UsagePage({ account, bucket }: { account: Account; bucket: string }) {
  const texts = useTexts();
  const own = useUsageTexts();
  const [counted, setCounted] = useState<Counted>('versions');
  const buckets = useBuckets();
  const query = { ...(bucket && { bucket }) };
  const storage = useQuery({
    queryKey: ['usage', 'storage', bucket],
    queryFn: () => data(api.GET('/api/v1/analytics/storage', { params: { query } })),
  });
  const types = useQuery({
    queryKey: ['usage', 'types', bucket],
    queryFn: () => data(api.GET('/api/v1/analytics/file-types', { params: { query } })),
  });
  const choosable = (buckets.data?.buckets ?? []).filter(({ owner }) => account.administers || owner === account.name);
  const whole = account.administers ? own.allOfCluster : own.all;
  const found = storage.data;
  const asIs = (name: string) => name;
  const lists = found && [
    ...(bucket ? [] : [{ part: 'buckets' as const, bars: largest(found.buckets, counted, MOST_BARS), nameOf: asIs }]),
    {
      part: 'types' as const,
      bars: largest(types.data?.types ?? [], counted, MOST_BARS),
      nameOf: (name: string) => name || own.unknownType,
    },
    {
      part: 'months' as const,
      bars: byAge(found.months, counted, MOST_BARS),
      nameOf: (name: string) => dateText(name, texts.locale),
    },
    { part: 'accounts' as const, bars: largest(found.accounts, counted, MOST_BARS), nameOf: asIs },
    { part: 'tenants' as const, bars: largest(found.tenants, counted, MOST_BARS), nameOf: asIs },
  ];
  return (
    <div className="scrolled">
      <PageHead title={own.title}>
        <Group gap="sm" align="flex-end">
          <NativeSelect
            label={own.bucket}
            value={bucket}
            onChange={(event) => goTo({ page: 'usage', bucket: event.currentTarget.value })}
            data={[{ value: '', label: whole }, ...choosable.map(({ name }) => name)]}
          />
          <NativeSelect
            label={own.counted}
            value={counted}
            onChange={(event) => setCounted(event.currentTarget.value as Counted)}
            data={choices(own.counts)}
          />
        </Group>
      </PageHead>
      <Failed error={storage.error ?? types.error} onRetry={() => void Promise.all([storage.refetch(), types.refetch()])} />
      {storage.isPending && <Loader aria-label={texts.app.loading} />}
      {found && <Totals storage={found} />}
      {found?.total.versions === 0 && <Text mt="md">{own.nothing}</Text>}
      {found && found.total.versions > 0 && <Growth bucket={bucket} counted={counted} />}
      {lists?.map(({ part, bars, nameOf }) => (
        <Bars
          key={part}
          title={own.parts[part]}
          heading={own.names[part]}
          {...{ bars, counted, nameOf }}
          others={part === 'months' ? own.older : own.others}
        />
      ))}
    </div>
  );
}

function Totals({ storage }: { storage: components['schemas']['StorageReply'] }) {
  const { locale } = useTexts();
  const { facts } = useUsageTexts();
  const number = new Intl.NumberFormat(locale);
  const { total, savings } = storage;
  const size = (bytes: number | null) => (bytes === null ? '…' : sizeText(bytes, locale));
  const saved = savings
    ? ([
        [facts.disk, size(savings.disk_bytes)],
        [facts.copies, number.format(savings.copies)],
        [facts.deduplicated, size(savings.deduplicated_bytes)],
        [facts.chunks, size(savings.chunk_bytes)],
      ] as const)
    : [];
  return (
    <FactList
      facts={[
        [facts.files, number.format(total.files)],
        [facts.fileBytes, size(total.file_bytes)],
        [facts.versions, number.format(total.versions)],
        [facts.versionBytes, size(total.version_bytes)],
        ...saved,
      ]}
    />
  );
}
