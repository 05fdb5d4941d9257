import { Button, Group, Loader, NativeSelect, Stack, Text, Textarea } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { choices } from '../shell/choices';
import { Dialog } from '../shell/Dialog';
import { Failed } from '../shell/Failed';
import { useNotices } from '../shell/notices';
import { useTexts } from '../texts';
import { Effect } from './Effect';
import { type Access, pathsOf, type Policy, policyOf, sent, type Template, templateOf, textOf } from './policy';
import { usePolicyTexts } from './texts';

interface Preview {
  /** What was asked about: only this may be saved. */
  text: string;
  places: { path: string; now: Access; then: Access }[];
}

/** Edits a bucket's policy. It can only be saved once the page has shown what it would allow. */
export function PolicyDialog({ bucket, onClose }: { bucket: string; onClose: () => void }) {
  const texts = useTexts();
  const own = usePolicyTexts();
  const { say } = useNotices();
  const cache = useQueryClient();
  const queryKey = ['policy', bucket];
  const params = { path: { bucket } };
  const found = useQuery({
    queryKey,
    queryFn: () => data(api.GET('/api/v1/policies/{bucket}', { params })),
    refetchOnWindowFocus: false, // it would not replace what is typed
    staleTime: 0,
    gcTime: 0,
  });
  const [typed, setTyped] = useState<string>();
  const known = textOf(found.data?.policy as Policy | null | undefined);
  const text = typed ?? known;
  const policy = policyOf(text);
  const asking = useMutation({
    mutationFn: async (wanted: Policy | null): Promise<Preview> => {
      const places = pathsOf(wanted, bucket).map(async (path) => {
        const [now, then] = await Promise.all([
          data(api.GET('/api/v1/access/{bucket}', { params: { ...params, query: { ...(path && { path }) } } })),
          data(api.POST('/api/v1/policies/{bucket}/preview', { params, body: { policy: sent(wanted), path } })),
        ]);
        return { path, now, then };
      });
      return { text, places: await Promise.all(places) };
    },
  });
  const saving = useMutation({
    mutationFn: (wanted: Policy | null) => data(api.PUT('/api/v1/policies/{bucket}', { params, body: { policy: sent(wanted) } })),
    onSuccess: () => {
      void cache.invalidateQueries({ queryKey: ['access', bucket] });
      say(own.saved(bucket));
      onClose();
    },
  });
  const preview = asking.data;
  const isCurrent = preview?.text === text;
  return (
    <Dialog title={own.title(bucket)} onClose={onClose} size="xl">
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.data && (
        <Stack gap="sm">
          <Text size="sm" c="dimmed">
            {own.hint}
          </Text>
          {!known && (
            <Group gap="sm" align="flex-end">
              <Text size="sm">{own.none}</Text>
              <NativeSelect
                label={own.begin}
                value=""
                onChange={(event) => setTyped(textOf(templateOf(event.currentTarget.value as Template, bucket)))}
                data={choices(own.templates)}
              />
            </Group>
          )}
          <Textarea
            label={own.document}
            value={text}
            onChange={(event) => setTyped(event.currentTarget.value)}
            error={policy === undefined && own.badJson}
            classNames={{ input: 'policy-text' }}
            rows={12}
            spellCheck={false}
            autoComplete="off"
          />
          <Group justify="space-between">
            <Button
              variant="default"
              disabled={policy === undefined || text === known}
              loading={asking.isPending}
              onClick={() => policy !== undefined && asking.mutate(policy)}
            >
              {own.explain}
            </Button>
            <Group gap="sm">
              <Button variant="default" onClick={onClose}>
                {texts.app.cancel}
              </Button>
              <Button
                disabled={!isCurrent || policy === undefined}
                loading={saving.isPending}
                onClick={() => policy !== undefined && saving.mutate(policy)}
              >
                {policy === null ? own.deleteNow : own.saveNow}
              </Button>
            </Group>
          </Group>
          <Failed error={asking.error ?? saving.error} />
          {preview && !isCurrent && <Text size="sm">{own.stale}</Text>}
          {preview && isCurrent && (
            <section aria-label={own.effect}>
              <Text fw={600}>{own.effect}</Text>
              <Text size="sm" c="dimmed">
                {own.scope}
              </Text>
              {preview.places.map((place) => (
                <Effect key={place.path} {...place} />
              ))}
            </section>
          )}
        </Stack>
      )}
    </Dialog>
  );
}
