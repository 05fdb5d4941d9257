import { Button, Group, Loader, NativeSelect, Text, TextInput } from '@mantine/core';
import { type ChangeEvent, useRef } from 'react';

import { fileAddress } from '../api/client';
import { useBuckets } from '../files/BucketList';
import { sizeText, timeText } from '../files/format';
import { goTo, NO_SEARCH, type Search } from '../router';
import { DataRow, DataTable } from '../shell/DataTable';
import { Failed } from '../shell/Failed';
import { PageHead } from '../shell/PageHead';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts } from '../texts';
import { useSearch } from './useSearch';

type Found = ReturnType<typeof useSearch>;
type Hit = Found['hits'][number];

/** Finds files by their paths, as the person types. The search is in the address, so it can be kept and sent. */
export function SearchPage({ search }: { search: Search }) {
  const texts = useTexts();
  const results = useRef<HTMLDivElement>(null);
  const found = useSearch(search);
  return (
    <div className="scrolled">
      <PageHead title={texts.search.title} />
      <form
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          results.current?.querySelector<HTMLElement>('a')?.focus();
        }}
      >
        <Fields search={search} />
      </form>
      <Text size="sm" c="dimmed" role="status" my="xs">
        {remark(found, texts)}
      </Text>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      <div ref={results}>{found.hits.length > 0 && <Hits found={found} />}</div>
      {found.hasNextPage && !found.isEmpty && (
        <Button my="sm" variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
          {texts.app.more}
        </Button>
      )}
    </div>
  );
}

function Fields({ search }: { search: Search }) {
  const texts = useTexts();
  const names = useBuckets().data?.buckets.map(({ name }) => name) ?? [];
  function set(key: keyof Search) {
    return (event: ChangeEvent<HTMLInputElement | HTMLSelectElement>) =>
      goTo({ page: 'search', search: { ...search, [key]: event.currentTarget.value } }, { replace: true });
  }
  return (
    <Group gap="xs" align="flex-end">
      <TextInput
        type="search"
        label={texts.search.text}
        placeholder={texts.search.hint}
        value={search.text}
        onChange={set('text')}
        className="search-text"
        autoComplete="off"
        spellCheck={false}
        maxLength={256}
        autoFocus
      />
      <NativeSelect
        label={texts.search.bucket}
        value={search.bucket}
        onChange={set('bucket')}
        data={[{ value: '', label: texts.search.everyBucket }, ...(search.bucket ? [search.bucket] : []), ...names.filter((name) => name !== search.bucket)]}
      />
      <NativeSelect
        label={texts.search.type}
        value={search.type}
        onChange={set('type')}
        data={Object.entries(texts.search.types).map(([value, label]) => ({ value: value === 'any' ? '' : value, label }))}
      />
      <NativeSelect
        label={texts.search.changed}
        value={search.days}
        onChange={set('days')}
        data={Object.entries(texts.search.ages).map(([days, label]) => ({ value: days === '0' ? '' : days, label }))}
      />
      {Object.values(search).some(Boolean) && (
        <Button variant="default" onClick={() => goTo({ page: 'search', search: NO_SEARCH }, { replace: true })}>
          {texts.search.clear}
        </Button>
      )}
    </Group>
  );
}

function Hits({ found }: { found: Found }) {
  const texts = useTexts();
  return (
    <DataTable label={texts.search.results} columns={Object.values(texts.search.columns)}>
      {found.hits.map((hit) => (
        <HitRow key={`${hit.file.bucket}/${hit.file.path}`} hit={hit} />
      ))}
    </DataTable>
  );
}

function HitRow({ hit: { file } }: { hit: Hit }) {
  const texts = useTexts();
  const end = file.path.replace(/\/$/, '').lastIndexOf('/') + 1;
  const [folder, name] = [file.path.slice(0, end), file.path.slice(end)];
  const isReadable = file.readable ?? true;
  const shown = isReadable ? (
    <a className="entry-name breakable" href={fileAddress(file.bucket, file.path)} download={name}>
      {name}
    </a>
  ) : (
    <span title={texts.files.unreadable}>{name}</span>
  );
  return (
    <DataRow
      cells={[
        name.endsWith('/') ? (
          <PlaceLink to={{ page: 'files', bucket: file.bucket, folder: file.path }}>{name}</PlaceLink>
        ) : (
          shown
        ),
        <PlaceLink key="in" to={{ page: 'files', bucket: file.bucket, folder }}>
          {`${file.bucket}/${folder}`}
        </PlaceLink>,
        isReadable ? sizeText(file.size, texts.locale) : '',
        timeText(file.created_at, texts.locale),
        file.author,
      ]}
    />
  );
}

function remark(found: Found, texts: ReturnType<typeof useTexts>) {
  if (found.isEmpty) return texts.search.begin;
  if (found.isPending) return <Loader size="xs" aria-label={texts.app.loading} />;
  if (found.isError) return '';
  const parts = [found.hits.length === 0 && !found.hasNextPage ? texts.search.none : texts.search.count(found.hits.length, found.hasNextPage)];
  if (found.hits[0]?.match === 'similar') parts.push(texts.search.similar);
  if (!found.isComplete) parts.push(texts.search.incomplete);
  return parts.join(' ');
}
