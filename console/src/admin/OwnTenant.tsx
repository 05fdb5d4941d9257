import { Paper } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';

import { FactList } from '../shell/FactList';
import { Failed } from '../shell/Failed';
import { quotas } from './accounts';
import { useQuotaText } from './QuotaDialog';
import { useAdminTexts } from './texts';

/** What a tenant has and may have, for its own administrators: those of the cluster set it. */
export function OwnTenant({ name }: { name: string }) {
  const own = useAdminTexts();
  const shown = useQuotaText();
  const found = useQuery({ queryKey: ['quotas', 'tenants', name], queryFn: () => quotas('tenants', name) });
  const facts = (found.data?.quotas ?? []).map(({ resource, used, allowed }) => {
    const now = shown(resource, used ?? 0);
    return [own.resources[resource], allowed === null ? now : own.usedOf(now, shown(resource, allowed))] as const;
  });
  return (
    <Paper component="section" withBorder p="sm" mb="md" role="region" aria-label={own.tenant(name)}>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      <FactList facts={[[own.tenantColumns.name, name], ...facts]} />
    </Paper>
  );
}
