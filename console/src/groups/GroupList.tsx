import { Button, Group, Text } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { timeText } from '../files/format';
import type { Account } from '../session/session';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { ListHead } from '../shell/ListHead';
import { NewNamedDialog } from '../shell/NewNamedDialog';
import { useTexts } from '../texts';
import { createGroup, deleteGroup, GROUPS_KEY, listGroups } from './groups';
import { MembersDialog } from './MembersDialog';
import { useGroupTexts } from './texts';

type Open = { kind: 'new' } | { kind: 'members' | 'delete'; name: string };

/** The groups that the account may see, and what it can do with each. */
export function GroupList({ account }: { account: Account }) {
  const texts = useTexts();
  const own = useGroupTexts();
  const cache = useQueryClient();
  const [filter, setFilter] = useState('');
  const [open, setOpen] = useState<Open>();
  const found = useQuery({ queryKey: GROUPS_KEY, queryFn: listGroups });
  const wanted = filter.trim().toLowerCase();
  const groups = (found.data?.groups ?? []).filter(({ name }) => name.toLowerCase().includes(wanted));
  const close = () => setOpen(undefined);
  return (
    <>
      <Text size="sm" c="dimmed" mb="xs">
        {own.hint}
      </Text>
      <ListHead
        found={found}
        countText={own.count(groups.length)}
        filter={{ label: own.filter, value: filter, onChange: setFilter }}
      >
        {account.administers && (
          <Button size="xs" className="beside" onClick={() => setOpen({ kind: 'new' })}>
            {own.create}
          </Button>
        )}
      </ListHead>
      {groups.length > 0 && (
        <DataTable label={own.title} columns={Object.values(own.columns)}>
          {groups.map(({ name, description = '', members, role, created_at: made }) => (
            <DataRow
              key={name}
              cells={[name, description, String(members), role ? own.roles[role] : '', timeText(made, texts.locale)]}
              actions={
                <Group gap={4} wrap="nowrap">
                  <Button
                    size="compact-sm"
                    variant="default"
                    aria-label={own.manageOne(name)}
                    onClick={() => setOpen({ kind: 'members', name })}
                  >
                    {own.manage}
                  </Button>
                  {account.administers && (
                    <Button
                      size="compact-sm"
                      color="red"
                      variant="light"
                      aria-label={own.removeOne(name)}
                      onClick={() => setOpen({ kind: 'delete', name })}
                    >
                      {own.remove}
                    </Button>
                  )}
                </Group>
              }
            />
          ))}
        </DataTable>
      )}
      {open?.kind === 'new' && (
        <NewNamedDialog
          title={own.create}
          nameLabel={own.name}
          maxLength={256}
          descriptionLabel={own.description}
          action={own.createNow}
          create={createGroup}
          listKey={GROUPS_KEY}
          onMade={({ name }) => setOpen({ kind: 'members', name })}
          onClose={close}
        />
      )}
      {open?.kind === 'members' && <MembersDialog account={account} name={open.name} onClose={close} />}
      {open?.kind === 'delete' && (
        <ConfirmDialog
          title={own.removeTitle(open.name)}
          text={own.removeText}
          action={own.remove}
          run={() => deleteGroup(open.name).then(() => cache.invalidateQueries({ queryKey: GROUPS_KEY }))}
          onClose={close}
        />
      )}
    </>
  );
}
