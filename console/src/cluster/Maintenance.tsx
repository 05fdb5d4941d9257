import { Button, Group, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { api, data } from '../api/client';
import type { components } from '../api/schema';
import { Failed } from '../shell/Failed';
import type { Cluster } from './problems';
import { type ClusterTexts, useClusterTexts } from './texts';

type Report = components['schemas']['FsckReport'];

const RUNNING_MILLISECONDS = 1000;
const KEY = ['fsck'];

/** The check of metadata and file servers against each other: the last one's result, and a button for another. */
export function Check() {
  const own = useClusterTexts();
  const cache = useQueryClient();
  const found = useQuery({
    queryKey: KEY,
    queryFn: ({ signal }) => data(api.GET('/api/v1/cluster/fsck', { signal })),
    refetchInterval: ({ state }) => (state.data?.state === 'running' ? RUNNING_MILLISECONDS : false),
  });
  const start = useMutation({
    mutationFn: (deep: boolean) => data(api.POST('/api/v1/cluster/fsck', { body: { deep } })),
    onSuccess: (report) => cache.setQueryData(KEY, report),
  });
  const isRunning = found.data?.state === 'running';
  return (
    <>
      <Failed error={found.error ?? start.error} onRetry={() => void found.refetch()} />
      <Text role="status">{found.data && sentence(found.data, own)}</Text>
      <ul className="breakable">
        {found.data?.problems?.map(({ kind, name, detail, file_server: server }) => (
          <li key={`${kind} ${name} ${server}`}>{[kind, name, detail, server].filter(Boolean).join(': ')}</li>
        ))}
      </ul>
      <Text size="sm" c="dimmed">
        {own.checkHint}
      </Text>
      <Group gap="xs" mt="xs">
        <Button size="xs" variant="default" disabled={isRunning} onClick={() => start.mutate(false)}>
          {own.checkNow}
        </Button>
        <Button size="xs" variant="default" disabled={isRunning} onClick={() => start.mutate(true)}>
          {own.checkDeep}
        </Button>
      </Group>
    </>
  );
}

function sentence(report: Report, own: ClusterTexts): string {
  const { state, started_at: at = 0, seconds = 0, problems = [], more_problems: more = 0 } = report;
  if (state === 'never') return own.checkStates.never;
  if (state === 'running') return own.checkStates.running(seconds);
  return problems.length ? own.checkStates.bad(at, problems.length + more) : own.checkStates.good(at, seconds);
}

/** When the last backup was made, and a button to make one. */
export function Backup({ directory }: { directory: Cluster['directory'] }) {
  const own = useClusterTexts();
  const { last_backup_at: last, backup_seconds: asked, backup_behind: behind = 0 } = directory ?? {};
  return (
    <>
      <Text>{own.lastBackup(last)}</Text>
      {asked != null && <Text>{own.following(asked, behind)}</Text>}
      <Text size="sm" c="dimmed">
        {own.backupHint}
      </Text>
      <Button component="a" href="/api/v1/cluster/backup" download="lockstep.backup" size="xs" variant="default" mt="xs">
        {own.download}
      </Button>
    </>
  );
}
