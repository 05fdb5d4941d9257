import { useInfiniteQuery } from '@tanstack/react-query';
import { useEffect, useMemo } from 'react';

import { api, data } from '../api/client';
import { arranged, BY_NAME, entriesOf, type Order } from './entries';

/** So many entries are loaded to sort or filter a folder; the browser's memory has an end. */
const MOST_SORTED = 200_000;

/** A folder's entries. Pages are loaded as they are needed; sorting and filtering need all of them. */
export function useListing(bucket: string, folder: string, text: string, order: Order, locale: string) {
  const found = useInfiniteQuery({
    queryKey: ['files', bucket, folder],
    queryFn: ({ pageParam, signal }) =>
      data(
        api.GET('/api/v1/files/{bucket}', {
          params: {
            path: { bucket },
            query: { delimiter: '/', ...(folder && { prefix: folder }), ...(pageParam && { cursor: pageParam }) },
          },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next_after,
    refetchOnWindowFocus: false, // the journal tells when it has changed
  });
  const { data: loaded, hasNextPage, isFetchingNextPage, fetchNextPage, isError } = found;
  const entries = useMemo(() => entriesOf(loaded?.pages ?? [], folder), [loaded, folder]);
  const needsAll = text.trim() !== '' || order.column !== BY_NAME.column || order.descending;
  const isLoadingAll = needsAll && hasNextPage && entries.length < MOST_SORTED && !isError;
  useEffect(() => {
    if (isLoadingAll && !isFetchingNextPage) void fetchNextPage();
  }, [isLoadingAll, isFetchingNextPage, fetchNextPage]);
  const shown = useMemo(() => arranged(entries, text, order, locale), [entries, text, order, locale]);
  return { ...found, shown, loadedCount: entries.length, needsAll, isLoadingAll };
}
