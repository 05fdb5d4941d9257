import { Group, Loader, Text } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';

import { useTexts } from '../texts';
import { Failed } from './Failed';
import { FilterField } from './FilterField';

interface Props {
  found: Pick<UseQueryResult, 'isSuccess' | 'isPending' | 'error' | 'refetch'>;
  /** How many entries are shown. */
  countText: string;
  /** Left out: the list has no filter. */
  filter?: { label: string; value: string; onChange: (value: string) => void };
  /** The buttons. */
  children: ReactNode;
}

/** What stands above a list: its filter, count and buttons, and whether it is loading or why it could not be loaded. */
export function ListHead({ found, countText, filter, children }: Props) {
  const texts = useTexts();
  return (
    <>
      <Group gap="sm" mb="xs">
        {filter && <FilterField {...filter} />}
        <Text size="sm" c="dimmed" role="status">
          {found.isSuccess && countText}
        </Text>
        {children}
      </Group>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
    </>
  );
}
