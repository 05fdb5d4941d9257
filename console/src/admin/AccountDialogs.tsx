import { Alert, Code, NativeSelect, Stack, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { choices } from '../shell/choices';
import { Dialog } from '../shell/Dialog';
import { CloseDialogButton, DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { NameField } from '../shell/NameField';
import { useTexts } from '../texts';
import { ACCOUNTS_KEY, create, remove, reset, type Role, type User } from './accounts';
import { nameInTenant } from './tenants';
import { useAdminTexts } from './texts';

interface NewAccountProps {
  title?: string;
  /** The tenant that the account is to be in; empty: the cluster's own, unless the name says another one. */
  tenant: string;
  firstRole?: Role;
  onClose: () => void;
}

/** Creates an account, and shows its one-time password. */
export function NewAccountDialog({ title, tenant, firstRole = 'member', onClose }: NewAccountProps) {
  const texts = useTexts();
  const own = useAdminTexts();
  const cache = useQueryClient();
  const [name, setName] = useState('');
  const [role, setRole] = useState(firstRole);
  const making = useMutation({
    mutationFn: () => create(nameInTenant(tenant, name.trim()), role),
    onSettled: () => cache.invalidateQueries({ queryKey: ACCOUNTS_KEY }),
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim()) making.mutate();
  }
  if (making.data) return <OneTime title={title ?? own.create} made={making.data} onClose={onClose} />;
  return (
    <Dialog title={title ?? own.create} onClose={onClose}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          <NameField
            label={texts.signIn.user}
            description={tenant && own.fullName(nameInTenant(tenant, name.trim() || '…'))}
            value={name}
            onChange={setName}
            maxLength={256}
            data-autofocus
          />
          <NativeSelect
            label={own.columns.role}
            value={role}
            onChange={(event) => setRole(event.currentTarget.value as Role)}
            data={choices(own.roles)}
          />
          <Failed error={making.error} />
          <DialogButtons action={own.createNow} onCancel={onClose} isBusy={making.isPending} />
        </Stack>
      </form>
    </Dialog>
  );
}

function OneTime({ title, made, onClose }: { title: string; made: { user: User; password?: string }; onClose: () => void }) {
  const own = useAdminTexts();
  return (
    <Dialog title={title} onClose={onClose}>
      <Alert role="status" title={own.oneTime(made.user.name)}>
        <Code fz="md" className="secret">
          {made.password}
        </Code>
        <Text size="sm" mt="xs">
          {own.oneTimeHint}
        </Text>
      </Alert>
      <CloseDialogButton onClose={onClose} />
    </Dialog>
  );
}

/** Replaces a forgotten password by a one-time password. */
export function ResetDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const own = useAdminTexts();
  const cache = useQueryClient();
  const resetting = useMutation({
    mutationFn: () => reset(name),
    onSettled: () => cache.invalidateQueries({ queryKey: ACCOUNTS_KEY }),
  });
  const title = own.resetTitle(name);
  if (resetting.data) return <OneTime title={title} made={resetting.data} onClose={onClose} />;
  return (
    <Dialog title={title} onClose={onClose}>
      <Text>{own.resetText}</Text>
      <Failed error={resetting.error} />
      <DialogButtons
        action={own.reset}
        onAction={() => resetting.mutate()}
        onCancel={onClose}
        isBusy={resetting.isPending}
        isDangerous
      />
    </Dialog>
  );
}

/** Deletes an account. Whoever owns buckets needs an heir for them. */
export function DeleteAccountDialog({ user, onClose }: { user: User; onClose: () => void }) {
  const own = useAdminTexts();
  const cache = useQueryClient();
  const [heir, setHeir] = useState('');
  const buckets = user.buckets ?? [];
  const deleting = useMutation({
    mutationFn: () => remove(user.name, heir.trim()),
    onSuccess: onClose,
    onSettled: () => cache.invalidateQueries({ queryKey: ACCOUNTS_KEY }),
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    deleting.mutate();
  }
  return (
    <Dialog title={own.deleteTitle(user.name)} onClose={onClose}>
      <form onSubmit={submit}>
        <Text mb="sm">{own.deleteText}</Text>
        {buckets.length > 0 && (
          <NameField
            label={own.heir}
            description={own.heirHint(buckets.join(', '))}
            value={heir}
            onChange={setHeir}
          />
        )}
        <Failed error={deleting.error} />
        <DialogButtons action={own.remove} onCancel={onClose} isBusy={deleting.isPending} isDangerous />
      </form>
    </Dialog>
  );
}
