import { Button } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';

import { api, data } from '../api/client';
import { timeText } from '../files/format';
import { DataRow, DataTable } from '../shell/DataTable';
import { ListHead } from '../shell/ListHead';
import { useTexts } from '../texts';
import { useAdminTexts } from './texts';

const PAGE = 1000;
const SHOWN = 200;

/** What has happened to accounts, keys, policies and programs, the newest first. */
export function AuditList() {
  const texts = useTexts();
  const own = useAdminTexts();
  const [filter, setFilter] = useState('');
  const [most, setMost] = useState(SHOWN);
  const found = useEvents();
  const wanted = filter.trim().toLowerCase();
  const events = found.events.filter((event) => {
    const { kind, account, subject = '', address = '', detail = '' } = event;
    return [kind, account, subject, address, detail].some((text) => text.toLowerCase().includes(wanted));
  });
  return (
    <>
      <ListHead
        found={found}
        countText={own.events(events.length)}
        filter={{ label: own.filterEvents, value: filter, onChange: setFilter }}
      >
        <Button size="xs" variant="default" loading={found.isFetching} onClick={() => void found.refetch()}>
          {own.refresh}
        </Button>
      </ListHead>
      {events.length > 0 && (
        <DataTable label={own.parts.audit} columns={Object.values(own.eventColumns)}>
          {events.slice(0, most).map(({ id, at, kind, account, subject = '', address = '', detail = '' }) => (
            <DataRow key={id} cells={[timeText(at, texts.locale), kind, account, subject, address, detail]} />
          ))}
        </DataTable>
      )}
      {events.length > most && (
        <Button my="sm" variant="default" onClick={() => setMost(most + SHOWN)}>
          {texts.app.more}
        </Button>
      )}
    </>
  );
}

/** The API's pages begin with the oldest event, so all of them are loaded: it keeps a bounded number. */
function useEvents() {
  const found = useInfiniteQuery({
    queryKey: ['audit'],
    queryFn: ({ pageParam, signal }) =>
      data(api.GET('/api/v1/audit', { params: { query: { after: pageParam, limit: PAGE } }, signal })),
    initialPageParam: 0,
    getNextPageParam: ({ events }) => (events.length === PAGE ? events.at(-1)?.id : undefined),
    refetchOnWindowFocus: false,
  });
  const { hasNextPage, isFetchingNextPage, isError, fetchNextPage } = found;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && !isError) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, isError, fetchNextPage]);
  return { ...found, events: (found.data?.pages.flatMap(({ events }) => events) ?? []).toReversed() };
}
