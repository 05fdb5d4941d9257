import { Badge, Button, Group, Loader, NativeSelect, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import type { Account } from '../session/session';
import { choices } from '../shell/choices';
import { Dialog } from '../shell/Dialog';
import { Failed } from '../shell/Failed';
import { NameField } from '../shell/NameField';
import { useTexts } from '../texts';
import { changeGroup, type GroupChange, type GroupRole, GROUPS_KEY, showGroup } from './groups';
import { useGroupTexts } from './texts';

interface Props {
  account: Account;
  name: string;
  onClose: () => void;
}

/** Who is in a group; for its managers and for administrators, with the controls to change that. */
export function MembersDialog({ account, name, onClose }: Props) {
  const texts = useTexts();
  const own = useGroupTexts();
  const cache = useQueryClient();
  const queryKey = [...GROUPS_KEY, name];
  const found = useQuery({ queryKey, queryFn: () => showGroup(name) });
  const change = useMutation({
    mutationFn: (wanted: GroupChange) => changeGroup(name, wanted),
    onSuccess: (group) => {
      cache.setQueryData(queryKey, group);
      void cache.invalidateQueries({ queryKey: GROUPS_KEY, exact: true });
    },
  });
  const mayChange = !account.readOnly && (account.administers || found.data?.role === 'manager');
  const members = Object.entries(found.data?.accounts ?? {}) as [string, GroupRole][];
  return (
    <Dialog title={own.membersTitle(name)} onClose={onClose} size="xl">
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.data?.description && <Text mb="xs">{found.data.description}</Text>}
      {mayChange && (
        <AddForm
          isBusy={change.isPending}
          add={(member, role) => change.mutateAsync({ accounts: { [member]: role } })}
        />
      )}
      <Failed error={change.error} />
      {found.isSuccess && members.length === 0 && <Text>{own.noMembers}</Text>}
      <ul className="people" aria-label={own.membersTitle(name)}>
        {members.map(([member, role]) => (
          <li key={member} className="person">
            <Text size="sm" fw={600} className="breakable">
              {member}
            </Text>
            {mayChange ? (
              <NativeSelect
                size="xs"
                aria-label={own.roleOf(member)}
                value={role}
                onChange={(event) =>
                  change.mutate({ accounts: { [member]: (event.currentTarget.value || null) as GroupRole | null } })
                }
                data={[...choices(own.roles), { value: '', label: own.takeOut }]}
              />
            ) : (
              <Badge variant="default" tt="none">
                {own.roles[role]}
              </Badge>
            )}
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function AddForm({ add, isBusy }: { add: (account: string, role: GroupRole) => Promise<unknown>; isBusy: boolean }) {
  const own = useGroupTexts();
  const [account, setAccount] = useState('');
  const [role, setRole] = useState<GroupRole>('member');
  function submit(event: FormEvent) {
    event.preventDefault();
    if (!account.trim()) return;
    add(account.trim(), role).then(
      () => setAccount(''),
      () => undefined, // shown below
    );
  }
  return (
    <form onSubmit={submit}>
      <Group gap="xs" align="flex-start">
        <NameField label={own.account} value={account} onChange={setAccount} className="search-text" data-autofocus />
        <NativeSelect
          label={own.role}
          value={role}
          onChange={(event) => setRole(event.currentTarget.value as GroupRole)}
          data={choices(own.roles)}
        />
        <Button type="submit" loading={isBusy} className="under-label">
          {own.add}
        </Button>
      </Group>
      <Text size="sm" c="dimmed" my="xs">
        {own.managersHint}
      </Text>
    </form>
  );
}
