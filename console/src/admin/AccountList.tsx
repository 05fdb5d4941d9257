import { Badge, Button, Group, Menu } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { timeText } from '../files/format';
import type { Account } from '../session/session';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { ListHead } from '../shell/ListHead';
import { useNotices } from '../shell/notices';
import { RowMenu } from '../shell/RowMenu';
import { useTexts } from '../texts';
import { AccessDialog } from './AccessDialog';
import { ACCOUNTS_KEY, change, type Change, dropSecondFactor, type User } from './accounts';
import { DeleteAccountDialog, NewAccountDialog, ResetDialog } from './AccountDialogs';
import { QuotaDialog } from './QuotaDialog';
import { useAdminTexts } from './texts';

type Question = 'access' | 'quotas' | 'reset' | 'factor' | 'delete';
type Open = { kind: 'new' } | { kind: Question; user: User };

/** Every account, and what an administrator can do with each. */
export function AccountList({ account }: { account: Account }) {
  const own = useAdminTexts();
  const { complain } = useNotices();
  const cache = useQueryClient();
  const [filter, setFilter] = useState('');
  const [open, setOpen] = useState<Open>();
  const found = useQuery({ queryKey: ACCOUNTS_KEY, queryFn: () => data(api.GET('/api/v1/users')) });
  const wanted = filter.trim().toLowerCase();
  const users = (found.data?.users ?? []).filter(({ name }) => name.toLowerCase().includes(wanted));
  const refresh = () => cache.invalidateQueries({ queryKey: ACCOUNTS_KEY });
  const close = () => setOpen(undefined);
  return (
    <>
      <ListHead
        found={found}
        countText={own.count(users.length)}
        filter={{ label: own.filter, value: filter, onChange: setFilter }}
      >
        <Button size="xs" className="beside" onClick={() => setOpen({ kind: 'new' })}>
          {own.create}
        </Button>
      </ListHead>
      {users.length > 0 && (
        <DataTable label={own.parts.accounts} columns={Object.values(own.columns)}>
          {users.map((user) => (
            <AccountRow
              key={user.name}
              user={user}
              isMe={user.name === account.name}
              ask={(kind) => setOpen({ kind, user })}
              set={(wish) => void change(user.name, wish).then(refresh, complain)}
            />
          ))}
        </DataTable>
      )}
      {open?.kind === 'new' && <NewAccountDialog tenant={account.tenant} onClose={close} />}
      {open?.kind === 'access' && <AccessDialog name={open.user.name} onClose={close} />}
      {open?.kind === 'quotas' && <QuotaDialog scope="accounts" name={open.user.name} onClose={close} />}
      {open?.kind === 'reset' && <ResetDialog name={open.user.name} onClose={close} />}
      {open?.kind === 'delete' && <DeleteAccountDialog user={open.user} onClose={close} />}
      {open?.kind === 'factor' && (
        <ConfirmDialog
          title={own.factorTitle(open.user.name)}
          text={own.factorText}
          action={own.dropFactor}
          run={() => dropSecondFactor(open.user.name).then(refresh)}
          onClose={close}
        />
      )}
    </>
  );
}

interface RowProps {
  user: User;
  isMe: boolean;
  ask: (question: Question) => void;
  set: (change: Change) => void;
}

function AccountRow({ user, isMe, ask, set }: RowProps) {
  const texts = useTexts();
  const own = useAdminTexts();
  const { name, role, disabled, must_change: mustChange, second_factor: hasFactor } = user;
  const marks = [
    isMe && own.you,
    disabled && own.disabled,
    mustChange && own.mustChange,
    hasFactor && own.hasFactor,
    !hasFactor && user.second_factor_required && own.needsFactor,
  ].filter(Boolean);
  return (
    <DataRow
      cells={[
        name,
        own.roles[role],
        marks.length > 0 ? (
          <Group key="marks" gap={4}>
            {marks.map((mark) => (
              <Badge key={String(mark)} variant="default" tt="none">
                {mark}
              </Badge>
            ))}
          </Group>
        ) : (
          ''
        ),
        own.ways(user.sessions ?? 0, (user.api_keys ?? 0) + (user.s3_keys ?? 0)),
        (user.buckets ?? []).join(', '),
        timeText(user.created_at, texts.locale),
      ]}
      actions={
        <RowMenu name={name}>
          <AccountItems user={user} isMe={isMe} ask={ask} set={set} />
        </RowMenu>
      }
    />
  );
}

/** What can be done with an account. Nobody takes their own rights away by mistake. */
function AccountItems({ user, isMe, ask, set }: RowProps) {
  const own = useAdminTexts();
  const isFactorNeeded = user.second_factor_required ?? false;
  const otherRoles = (Object.keys(own.roles) as User['role'][]).filter((role) => role !== user.role);
  return (
    <>
      <Menu.Item onClick={() => ask('access')}>{own.access}</Menu.Item>
      <Menu.Item onClick={() => ask('quotas')}>{own.quotas}</Menu.Item>
      {!isMe &&
        otherRoles.map((role) => (
          <Menu.Item key={role} onClick={() => set({ role })}>
            {own.makeRole[role]}
          </Menu.Item>
        ))}
      <Menu.Item onClick={() => set({ second_factor_required: !isFactorNeeded })}>
        {isFactorNeeded ? own.freeFactor : own.requireFactor}
      </Menu.Item>
      {user.second_factor && <Menu.Item onClick={() => ask('factor')}>{own.dropFactor} …</Menu.Item>}
      {!isMe && (
        <>
          <Menu.Item onClick={() => ask('reset')}>{own.reset} …</Menu.Item>
          <Menu.Item onClick={() => set({ disabled: !user.disabled })}>{user.disabled ? own.enable : own.disable}</Menu.Item>
          <Menu.Item className="danger" onClick={() => ask('delete')}>
            {own.remove} …
          </Menu.Item>
        </>
      )}
    </>
  );
}
