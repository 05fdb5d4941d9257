import { Button } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { api, data } from '../api/client';
import { sizeText } from '../files/format';
import { DataRow, DataTable } from '../shell/DataTable';
import { FactList } from '../shell/FactList';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';
import type { Cluster } from './problems';
import { useClusterTexts } from './texts';

const SHOWN = 50;

/** How many copies are missing and being made; the files that cannot be read; and the balancing of the servers. */
export function Repair({ repair }: { repair: Cluster['repair'] }) {
  const { locale } = useTexts();
  const own = useClusterTexts();
  const cache = useQueryClient();
  const number = new Intl.NumberFormat(locale);
  const names = Object.keys(own.repairFacts) as (keyof typeof own.repairFacts)[];
  const balance = useMutation({
    mutationFn: () => data(api.POST('/api/v1/cluster/balance', { body: { stop: repair.balancing ?? false } })),
    onSettled: () => cache.invalidateQueries({ queryKey: ['cluster'] }),
  });
  return (
    <>
      <FactList facts={names.map((name) => [own.repairFacts[name], number.format(repair[name] ?? 0)] as const)} />
      <Button size="xs" variant="default" mt="xs" loading={balance.isPending} onClick={() => balance.mutate()}>
        {repair.balancing ? own.stopBalance : own.balance}
      </Button>
      <Failed error={balance.error} />
      {repair.without_living_copy > 0 && <LostFiles />}
    </>
  );
}

function LostFiles() {
  const { locale } = useTexts();
  const own = useClusterTexts();
  const found = useQuery({
    queryKey: ['cluster', 'lost'],
    queryFn: () => data(api.GET('/api/v1/cluster/repair', { params: { query: { limit: SHOWN } } })),
  });
  return (
    <>
      <h3>{own.lostFiles}</h3>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      <DataTable label={own.lostFiles} columns={Object.values(own.lostColumns)}>
        {found.data?.lost.map((file) => (
          <DataRow
            key={`${file.bucket}/${file.path}/${file.version}`}
            cells={[`${file.bucket}/${file.path}`, file.version, sizeText(file.size, locale), file.file_servers.join(', ')]}
          />
        ))}
      </DataTable>
    </>
  );
}
