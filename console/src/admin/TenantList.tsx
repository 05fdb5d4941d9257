import { Button, Menu, Text } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { timeText } from '../files/format';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { ListHead } from '../shell/ListHead';
import { NewNamedDialog } from '../shell/NewNamedDialog';
import { RowMenu } from '../shell/RowMenu';
import { useTexts } from '../texts';
import { NewAccountDialog } from './AccountDialogs';
import { QuotaDialog } from './QuotaDialog';
import { createTenant, deleteTenant, listTenants, TENANTS_KEY } from './tenants';
import { useAdminTexts } from './texts';

type Open = { kind: 'new' } | { kind: 'administrator' | 'quotas' | 'delete'; name: string };

/** The tenants, and what an administrator of the cluster can do with each. */
export function TenantList() {
  const texts = useTexts();
  const own = useAdminTexts();
  const cache = useQueryClient();
  const [open, setOpen] = useState<Open>();
  const found = useQuery({ queryKey: TENANTS_KEY, queryFn: listTenants });
  const tenants = found.data?.tenants ?? [];
  const refresh = () => cache.invalidateQueries({ queryKey: TENANTS_KEY });
  const close = () => setOpen(undefined);
  const number = new Intl.NumberFormat(texts.locale);
  return (
    <>
      <Text size="sm" c="dimmed" mb="xs">
        {own.tenantsHint}
      </Text>
      <ListHead found={found} countText={own.tenants(tenants.length)}>
        <Button size="xs" className="beside" onClick={() => setOpen({ kind: 'new' })}>
          {own.createTenant}
        </Button>
      </ListHead>
      {tenants.length > 0 && (
        <DataTable label={own.parts.tenants} columns={Object.values(own.tenantColumns)}>
          {tenants.map(({ name, description = '', administrators = [], accounts, buckets, created_at: made }) => (
            <DataRow
              key={name}
              cells={[
                name,
                description,
                administrators.join(', ') || own.noAdministrator,
                number.format(accounts),
                number.format(buckets),
                timeText(made, texts.locale),
              ]}
              actions={
                <RowMenu name={name}>
                  <Menu.Item onClick={() => setOpen({ kind: 'administrator', name })}>{own.newAdministrator}</Menu.Item>
                  <Menu.Item onClick={() => setOpen({ kind: 'quotas', name })}>{own.quotas}</Menu.Item>
                  <Menu.Item className="danger" onClick={() => setOpen({ kind: 'delete', name })}>
                    {own.remove} …
                  </Menu.Item>
                </RowMenu>
              }
            />
          ))}
        </DataTable>
      )}
      {open?.kind === 'new' && (
        <NewNamedDialog
          title={own.createTenant}
          nameLabel={own.tenantName}
          nameHint={own.tenantNameHint}
          maxLength={32}
          descriptionLabel={own.tenantDescription}
          action={own.createNow}
          create={createTenant}
          listKey={TENANTS_KEY}
          onMade={({ name }) => setOpen({ kind: 'administrator', name })}
          onClose={close}
        />
      )}
      {open?.kind === 'administrator' && (
        <NewAccountDialog
          title={own.newAdministratorOf(open.name)}
          tenant={open.name}
          firstRole="administrator"
          onClose={() => {
            void refresh();
            close();
          }}
        />
      )}
      {open?.kind === 'quotas' && <QuotaDialog scope="tenants" name={open.name} onClose={close} />}
      {open?.kind === 'delete' && (
        <ConfirmDialog
          title={own.deleteTenantTitle(open.name)}
          text={own.deleteTenantText}
          action={own.remove}
          run={() => deleteTenant(open.name).then(refresh)}
          onClose={close}
        />
      )}
    </>
  );
}
