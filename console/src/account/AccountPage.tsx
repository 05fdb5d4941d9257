import { Alert, Button, Code, Group, Loader, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { timeText } from '../files/format';
import { GroupList } from '../groups/GroupList';
import { GROUPS_KEY, listGroups } from '../groups/groups';
import { useGroupTexts } from '../groups/texts';
import type { Account } from '../session/session';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { Failed } from '../shell/Failed';
import { PageHead } from '../shell/PageHead';
import { useTexts } from '../texts';
import { createKey, type Key, type Kind, listKeys, revokeKey } from './keys';

const KINDS: Kind[] = ['api', 's3'];

/** What programs use to act as the account, and the groups that it is in. */
export function AccountPage({ account }: { account: Account }) {
  const texts = useTexts();
  return (
    <div className="scrolled">
      <PageHead title={texts.keys.title(account.name)} />
      {KINDS.map((kind) => (
        <Keys key={kind} kind={kind} />
      ))}
      <MyGroups account={account} />
    </div>
  );
}

/** The groups that the account is in. Administrators have a page of all groups. */
function MyGroups({ account }: { account: Account }) {
  const own = useGroupTexts();
  const found = useQuery({ queryKey: GROUPS_KEY, queryFn: listGroups, enabled: !account.administers });
  if (!found.data?.groups.length) return null;
  return (
    <section className="section">
      <Title order={2} size="h4">
        {own.mine}
      </Title>
      <GroupList account={account} />
    </section>
  );
}

function Keys({ kind }: { kind: Kind }) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [revoking, setRevoking] = useState<Key>();
  const queryKey = ['keys', kind];
  const found = useQuery({ queryKey, queryFn: () => listKeys(kind) });
  const refresh = () => cache.invalidateQueries({ queryKey });
  const words = texts.keys[kind];
  const keys = found.data ?? [];
  return (
    <section className="section">
      <Title order={2} size="h4">
        {words.title}
      </Title>
      <Text size="sm" c="dimmed" mb="xs">
        {words.hint}
      </Text>
      <NewKey kind={kind} onMade={refresh} />
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.isSuccess && keys.length === 0 && <Text>{texts.keys.none}</Text>}
      {keys.length > 0 && (
        <DataTable label={words.title} columns={Object.values(texts.keys.columns)}>
          {keys.map((key) => (
            <DataRow
              key={key.id}
              cells={[key.name || key.id, key.id, timeText(key.made, texts.locale), key.until ? timeText(key.until, texts.locale) : '']}
              actions={
                <Button
                  size="compact-sm"
                  color="red"
                  variant="light"
                  aria-label={texts.links.revokeOne(key.name || key.id)}
                  onClick={() => setRevoking(key)}
                >
                  {texts.links.revoke}
                </Button>
              }
            />
          ))}
        </DataTable>
      )}
      {revoking && (
        <ConfirmDialog
          title={texts.keys.revokeTitle(revoking.name || revoking.id)}
          text={texts.keys.revokeText}
          action={texts.links.revoke}
          run={() => revokeKey(kind, revoking.id).then(refresh)}
          onClose={() => setRevoking(undefined)}
        />
      )}
    </section>
  );
}

function NewKey({ kind, onMade }: { kind: Kind; onMade: () => void }) {
  const texts = useTexts();
  const words = texts.keys[kind];
  const [name, setName] = useState('');
  const making = useMutation({
    mutationFn: () => createKey(kind, name.trim()),
    onSuccess: () => {
      setName('');
      onMade();
    },
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim()) making.mutate();
  }
  return (
    <form onSubmit={submit}>
      <Group gap="xs" align="flex-end" mb="sm">
        <TextInput
          label={words.name}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          autoComplete="off"
          maxLength={256}
          required
          withAsterisk={false}
        />
        <Button type="submit" loading={making.isPending}>
          {words.create}
        </Button>
      </Group>
      <Failed error={making.error} />
      {making.data && (
        <Alert role="status" title={texts.keys.made} mb="sm">
          {making.data.map(([label, secret]) => (
            <div key={label}>
              {label} <Code className="secret breakable">{secret}</Code>
            </div>
          ))}
        </Alert>
      )}
    </form>
  );
}
