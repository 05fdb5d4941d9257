import { Button, Group } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { sizeText } from '../files/format';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { useNotices } from '../shell/notices';
import { useTexts } from '../texts';
import { type FileServer, isLeaving } from './problems';
import { type ClusterTexts, useClusterTexts } from './texts';

type Asked = { action: 'drain' | 'remove'; id: string };

/** The file servers, with their space, and the buttons to drain and remove one. */
export function Servers({ servers }: { servers: FileServer[] }) {
  const own = useClusterTexts();
  const { complain } = useNotices();
  const cache = useQueryClient();
  const [asked, setAsked] = useState<Asked>();
  async function drain(id: string, stop: boolean) {
    await data(api.POST('/api/v1/cluster/servers/{id}/drain', { params: { path: { id } }, body: { stop } }));
    await cache.invalidateQueries({ queryKey: ['cluster'] });
  }
  async function remove(id: string) {
    await data(api.DELETE('/api/v1/cluster/servers/{id}', { params: { path: { id } } }));
    await cache.invalidateQueries({ queryKey: ['cluster'] });
  }
  return (
    <>
      <DataTable label={own.servers} columns={Object.values(own.serverColumns)}>
        {servers
          .filter(({ state }) => state !== 'removed')
          .map((server) => (
            <ServerRow
              key={server.id}
              server={server}
              ask={(action) => setAsked({ action, id: server.id })}
              stop={() => void drain(server.id, true).catch(complain)}
            />
          ))}
      </DataTable>
      {asked?.action === 'drain' && (
        <ConfirmDialog
          title={own.drainTitle(asked.id)}
          text={own.drainText}
          action={own.drain}
          run={() => drain(asked.id, false)}
          onClose={() => setAsked(undefined)}
        />
      )}
      {asked?.action === 'remove' && (
        <ConfirmDialog
          title={own.removeServerTitle(asked.id)}
          text={own.removeServerText}
          action={own.remove}
          run={() => remove(asked.id)}
          onClose={() => setAsked(undefined)}
        />
      )}
    </>
  );
}

interface RowProps {
  server: FileServer;
  ask: (action: Asked['action']) => void;
  stop: () => void;
}

function ServerRow({ server, ask, stop }: RowProps) {
  const { locale } = useTexts();
  const own = useClusterTexts();
  const { id, free_bytes: free, capacity_bytes: capacity } = server;
  const canRemove = server.drained || server.state === 'down';
  return (
    <DataRow
      cells={[
        id,
        stateText(server, own),
        server.zone,
        own.free(sizeText(free, locale), sizeText(capacity, locale)),
        new Intl.NumberFormat(locale).format(server.blobs),
        own.ago(server.seconds_since_heartbeat),
        server.version ?? '',
      ]}
      actions={
        <Group gap="xs">
          {isLeaving(server) ? (
            <Button size="compact-sm" variant="default" aria-label={own.one(own.stopDraining, id)} onClick={stop}>
              {own.stopDraining}
            </Button>
          ) : (
            <Button size="compact-sm" variant="default" aria-label={own.one(own.drain, id)} onClick={() => ask('drain')}>
              {own.drain}
            </Button>
          )}
          {canRemove && (
            <Button
              size="compact-sm"
              color="red"
              variant="light"
              aria-label={own.one(own.remove, id)}
              onClick={() => ask('remove')}
            >
              {own.remove}
            </Button>
          )}
        </Group>
      }
    />
  );
}

function stateText(server: FileServer, own: ClusterTexts): string {
  if (server.drained) return own.drained;
  if (isLeaving(server)) return own.drainLeft(server.held_blobs ?? server.blobs);
  return own.states[server.state];
}
