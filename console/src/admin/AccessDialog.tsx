import { Button, Loader, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { timeText } from '../files/format';
import { Dialog } from '../shell/Dialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';
import { access, ACCOUNTS_KEY, end } from './accounts';
import { useAdminTexts } from './texts';

/** The log-ins and keys with which programs and browsers act as an account. Each can be ended, or all at once. */
export function AccessDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const texts = useTexts();
  const own = useAdminTexts();
  const cache = useQueryClient();
  const queryKey = ['account-access', name];
  const found = useQuery({ queryKey, queryFn: () => access(name) });
  const ending = useMutation({
    mutationFn: (id: string | undefined) => end(name, id),
    onSettled: () => Promise.all([queryKey, ACCOUNTS_KEY].map((key) => cache.invalidateQueries({ queryKey: key }))),
  });
  const { sessions = [], api_keys: apiKeys = [], s3_keys: s3Keys = [] } = found.data ?? {};
  const rows = [
    ...sessions.map(({ id, client, created_at: made, expires_at: until }) => ({ id, kind: own.session, label: client, made, until })),
    ...apiKeys.map(({ id, name: label, created_at: made }) => ({ id, kind: own.apiKey, label, made, until: 0 })),
    ...s3Keys.map((id) => ({ id, kind: own.s3Key, label: id, made: 0, until: 0 })),
  ];
  const time = (at: number) => (at ? timeText(at, texts.locale) : '');
  return (
    <Dialog title={own.accessTitle(name)} onClose={onClose} size="xl">
      <Failed error={found.error ?? ending.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.isSuccess && rows.length === 0 && <Text>{own.noAccess}</Text>}
      {rows.length > 0 && (
        <>
          <DataTable label={own.accessTitle(name)} columns={Object.values(own.accessColumns)}>
            {rows.map(({ id, kind, label, made, until }) => (
              <DataRow
                key={id}
                cells={[label || id, kind, time(made), time(until)]}
                actions={
                  <Button
                    size="compact-sm"
                    color="red"
                    variant="light"
                    aria-label={own.endOne(label || id)}
                    disabled={ending.isPending}
                    onClick={() => ending.mutate(id)}
                  >
                    {own.end}
                  </Button>
                }
              />
            ))}
          </DataTable>
          <Button color="red" variant="light" mt="sm" loading={ending.isPending} onClick={() => ending.mutate(undefined)}>
            {own.endAll}
          </Button>
        </>
      )}
    </Dialog>
  );
}
