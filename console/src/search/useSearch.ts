import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';

import { api, data } from '../api/client';
import type { Search } from '../router';

const PAUSE_MILLISECONDS = 200;
const PAGE = 50;
const DAY_MILLISECONDS = 86_400_000;
const MOST_DAYS = 36_500;

/** The hits of a search, once the person has paused typing. Until then those of the search before stay. */
export function useSearch(search: Search) {
  const [settled] = useDebouncedValue(search, PAUSE_MILLISECONDS);
  const isEmpty = !wants(settled);
  const found = useInfiniteQuery({
    queryKey: ['search', settled],
    queryFn: ({ pageParam, signal }) =>
      data(
        api.GET('/api/v1/search', {
          params: { query: { ...queryOf(settled, Date.now()), limit: PAGE, ...(pageParam && { cursor: pageParam }) } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next_after,
    placeholderData: keepPreviousData,
    enabled: !isEmpty,
  });
  const pages = isEmpty ? [] : (found.data?.pages ?? []);
  return {
    ...found,
    isEmpty,
    hits: pages.flatMap((page) => page.hits),
    isComplete: pages.every((page) => page.complete),
  };
}

/** Whether there is anything to search for. */
export function wants({ text, type, days }: Search): boolean {
  return text.trim() !== '' || type !== '' || isAge(days);
}

/** The API's arguments for a search. `now` is in milliseconds since 1970. */
export function queryOf({ text, bucket, type, days }: Search, now: number) {
  return {
    ...(text.trim() && { q: text.trim() }),
    ...(bucket && { bucket }),
    ...(type && { type }),
    ...(isAge(days) && { since: timeBefore(Number(days), now) }),
  };
}

/** The address may have been typed by hand. */
function isAge(days: string): boolean {
  return Number(days) > 0 && Number(days) <= MOST_DAYS;
}

function timeBefore(days: number, now: number): string {
  return `${new Date(now - days * DAY_MILLISECONDS).toISOString().slice(0, 19)}Z`;
}
