import { Button, Text } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { timeText } from '../files/format';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { useTexts } from '../texts';
import type { Cluster } from './problems';
import { useClusterTexts } from './texts';

/** The proxies, and for one that is down the button to remove it. */
export function Proxies({ proxies }: { proxies: NonNullable<Cluster['proxies']> }) {
  const own = useClusterTexts();
  const cache = useQueryClient();
  const [removing, setRemoving] = useState<string>();
  async function remove(id: string) {
    await data(api.DELETE('/api/v1/cluster/proxies/{id}', { params: { path: { id } } }));
    await cache.invalidateQueries({ queryKey: ['cluster'] });
  }
  return (
    <>
      <DataTable label={own.proxies} columns={Object.values(own.proxyColumns)}>
        {proxies
          .filter(({ state }) => state !== 'removed')
          .map(({ id, state, url = '', version = '', seconds_since_heartbeat: silent }) => (
            <DataRow
              key={id}
              cells={[id, own.states[state], url, silent == null ? own.never : own.ago(silent), version]}
              actions={
                state === 'down' && (
                  <Button
                    size="compact-sm"
                    color="red"
                    variant="light"
                    aria-label={own.one(own.remove, id)}
                    onClick={() => setRemoving(id)}
                  >
                    {own.remove}
                  </Button>
                )
              }
            />
          ))}
      </DataTable>
      {removing !== undefined && (
        <ConfirmDialog
          title={own.removeProxyTitle(removing)}
          text={own.removeProxyText}
          action={own.remove}
          run={() => remove(removing)}
          onClose={() => setRemoving(undefined)}
        />
      )}
    </>
  );
}

interface CertificatesProps {
  authorities: NonNullable<Cluster['authorities']>;
  keys: NonNullable<Cluster['storage_keys']>;
}

/** The certificate authorities and storage keys, and what needs each. */
export function Certificates({ authorities, keys }: CertificatesProps) {
  const { locale } = useTexts();
  const own = useClusterTexts();
  return (
    <>
      <DataTable label={own.certificates} columns={Object.values(own.authorityColumns)}>
        {authorities.map(({ id, subject, state, expires_at: until, needed_by: needed = [] }) => (
          <DataRow key={id} cells={[subject, own.authorityStates[state], timeText(until, locale), needed.join(', ')]} />
        ))}
      </DataTable>
      <DataTable label={own.keyColumns.id} columns={Object.values(own.keyColumns)}>
        {keys.map(({ id, current, created_at: made, holders = [] }) => (
          <DataRow
            key={id}
            cells={[
              id,
              current ? own.keyStates.current : own.keyStates.old,
              made == null ? '' : timeText(made, locale),
              holders.map(({ program, items }) => `${program} (${items})`).join(', '),
            ]}
          />
        ))}
      </DataTable>
      <Text size="sm" c="dimmed" mt="xs">
        {own.rotation}
      </Text>
    </>
  );
}
