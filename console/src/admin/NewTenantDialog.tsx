import { Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { NameField } from '../shell/NameField';
import { createTenant, type Tenant, TENANTS_KEY } from './tenants';
import { useAdminTexts } from './texts';

interface Props {
  onMade: (tenant: Tenant) => void;
  onClose: () => void;
}

/** Creates a tenant, which has no accounts yet. */
export function NewTenantDialog({ onMade, onClose }: Props) {
  const own = useAdminTexts();
  const cache = useQueryClient();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const making = useMutation({
    mutationFn: () => createTenant(name.trim(), description.trim()),
    onSuccess: (tenant) => {
      void cache.invalidateQueries({ queryKey: TENANTS_KEY });
      onMade(tenant);
    },
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim()) making.mutate();
  }
  return (
    <Dialog title={own.createTenant} onClose={onClose}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          <NameField
            label={own.tenantName}
            description={own.tenantNameHint}
            value={name}
            onChange={setName}
            maxLength={32}
            data-autofocus
          />
          <TextInput
            label={own.tenantDescription}
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
            autoComplete="off"
            maxLength={1024}
          />
          <Failed error={making.error} />
          <DialogButtons action={own.createNow} onCancel={onClose} isBusy={making.isPending} />
        </Stack>
      </form>
    </Dialog>
  );
}
