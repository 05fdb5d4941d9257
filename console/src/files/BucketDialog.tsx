import { Button, Checkbox, Group, NativeSelect, Stack, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import type { components } from '../api/schema';
import { timeText } from '../files/format';
import { choices } from '../shell/choices';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { Dialog } from '../shell/Dialog';
import { CloseDialogButton } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';

type Schemas = components['schemas'];
type Bucket = Schemas['BucketInfo'];
type Rule = Schemas['ShareRuleReply']['links'];

export type BucketPart = 'lifecycle' | 'policy';

interface Props {
  bucket: Bucket;
  /** Open one of the settings that have a dialog of their own. */
  open: (part: BucketPart) => void;
  onClose: () => void;
}

/** The settings of a bucket, for its owner and administrators. Each is saved when it is changed. */
export function BucketDialog({ bucket, open, onClose }: Props) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [isDeleting, setIsDeleting] = useState(false);
  const params = { path: { bucket: bucket.name } };
  const ruleKey = ['share-rule', bucket.name];
  const rule = useQuery({ queryKey: ruleKey, queryFn: () => data(api.GET('/api/v1/share-rules/{bucket}', { params })) });
  const refresh = () => cache.invalidateQueries({ queryKey: ['buckets'] });
  const change = useMutation({
    mutationFn: (wish: Partial<Schemas['BucketChange']>) =>
      data(api.PATCH('/api/v1/buckets/{bucket}', { params, body: { versioning: null, shared: null, ...wish } })),
    onSettled: refresh,
  });
  const setRule = useMutation({
    mutationFn: (links: Rule) => data(api.PUT('/api/v1/share-rules/{bucket}', { params, body: { links } })),
    onSuccess: (reply) => cache.setQueryData(ruleKey, reply),
  });
  async function remove() {
    await data(api.DELETE('/api/v1/buckets/{bucket}', { params }));
    await refresh();
    onClose();
  }
  if (isDeleting) {
    return (
      <ConfirmDialog
        title={texts.buckets.deleteTitle(bucket.name)}
        text={texts.buckets.deleteText}
        action={texts.files.remove}
        run={remove}
        onClose={() => setIsDeleting(false)}
      />
    );
  }
  const offered = Object.entries(texts.buckets.versioning).filter(
    ([state]) => state === bucket.versioning || (bucket.versioning === 'off' ? state === 'enabled' : state !== 'off'),
  );
  return (
    <Dialog title={texts.buckets.title(bucket.name)} onClose={onClose}>
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          {texts.buckets.facts(bucket.owner, timeText(bucket.created_at, texts.locale))}
        </Text>
        <NativeSelect
          label={texts.buckets.versions}
          value={bucket.versioning}
          disabled={change.isPending}
          onChange={(event) => change.mutate({ versioning: event.currentTarget.value as Bucket['versioning'] })}
          data={offered.map(([value, label]) => ({ value, label }))}
        />
        <Checkbox
          label={texts.buckets.shared}
          checked={bucket.shared}
          disabled={change.isPending}
          onChange={(event) => change.mutate({ shared: event.currentTarget.checked })}
        />
        {rule.data && (
          <NativeSelect
            label={texts.buckets.links}
            value={rule.data.links}
            disabled={setRule.isPending}
            onChange={(event) => setRule.mutate(event.currentTarget.value as Rule)}
            data={choices(texts.buckets.rules)}
          />
        )}
        <Failed error={change.error ?? setRule.error ?? rule.error} />
        <Group gap="sm">
          <Button variant="default" onClick={() => open('lifecycle')}>
            {texts.buckets.lifecycle}
          </Button>
          <Button variant="default" onClick={() => open('policy')}>
            {texts.buckets.policy}
          </Button>
        </Group>
        <CloseDialogButton onClose={onClose}>
          <Button color="red" variant="light" onClick={() => setIsDeleting(true)}>
            {texts.buckets.delete}
          </Button>
        </CloseDialogButton>
      </Stack>
    </Dialog>
  );
}
