import { Loader, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { sizeText } from '../files/format';
import { Dialog } from '../shell/Dialog';
import { DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';
import { quotas, type QuotaScope, type Resource, setQuotas } from './accounts';
import { changedQuotas, isQuota } from './quotas';
import { useAdminTexts } from './texts';

interface Props {
  scope: QuotaScope;
  name: string;
  onClose: () => void;
}

/** What an account or tenant may have at most, and what it has. */
export function QuotaDialog({ scope, name, onClose }: Props) {
  const texts = useTexts();
  const own = useAdminTexts();
  const cache = useQueryClient();
  const shown = useQuotaText();
  const queryKey = ['quotas', scope, name];
  const found = useQuery({ queryKey, queryFn: () => quotas(scope, name), refetchOnWindowFocus: false });
  const [wishes, setWishes] = useState<Partial<Record<Resource, string>>>({});
  const rows = found.data?.quotas ?? [];
  const isGood = Object.values(wishes).every(isQuota);
  const saving = useMutation({
    mutationFn: () => setQuotas(scope, name, changedQuotas(rows, wishes)),
    onSuccess: (reply) => {
      cache.setQueryData(queryKey, reply);
      onClose();
    },
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (isGood) saving.mutate();
  }
  return (
    <Dialog title={own.quotasTitle(name)} onClose={onClose}>
      <form onSubmit={submit}>
        <Text size="sm" c="dimmed" mb="sm">
          {own.quotasHint}
        </Text>
        {found.isPending && <Loader aria-label={texts.app.loading} />}
        <Stack gap="sm">
          {rows.map(({ resource, allowed, used, built_in: isBuiltIn }) => {
            const wish = wishes[resource] ?? (allowed === null || isBuiltIn ? '' : String(allowed));
            const remarks = [
              used !== null && own.used(shown(resource, used)),
              isBuiltIn && allowed !== null && own.builtIn(shown(resource, allowed)),
            ];
            return (
              <TextInput
                key={resource}
                label={own.resources[resource]}
                description={remarks.filter(Boolean).join(' ')}
                inputMode="numeric"
                value={wish}
                onChange={(event) => {
                  const { value } = event.currentTarget;
                  setWishes((now) => ({ ...now, [resource]: value }));
                }}
                error={!isQuota(wish) && own.badQuota}
              />
            );
          })}
        </Stack>
        <Failed error={found.error ?? saving.error} />
        <DialogButtons
          action={texts.app.save}
          onCancel={onClose}
          isBusy={saving.isPending}
          isDisabled={!isGood || rows.length === 0}
        />
      </form>
    </Dialog>
  );
}

/** Writes how much there is of a resource. */
export function useQuotaText(): (resource: Resource, value: number) => string {
  const { locale } = useTexts();
  const number = new Intl.NumberFormat(locale);
  return (resource, value) => (resource === 'bytes' ? sizeText(value, locale) : number.format(value));
}
