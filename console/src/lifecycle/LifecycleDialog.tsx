import { Badge, Button, Group, Loader, Stack, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { CloseDialogButton } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';
import { aboutText, actionTexts, type Rule, withRule } from './lifecycle';
import { RuleForm } from './RuleForm';
import { useLifecycleTexts } from './texts';

/** The rules by which a bucket deletes files and older versions. Each change is saved at once. */
export function LifecycleDialog({ bucket, onClose }: { bucket: string; onClose: () => void }) {
  const texts = useTexts();
  const own = useLifecycleTexts();
  const cache = useQueryClient();
  const [editing, setEditing] = useState<{ rule: Rule | undefined }>();
  const queryKey = ['lifecycle', bucket];
  const params = { path: { bucket } };
  const ask = () => data(api.GET('/api/v1/lifecycles/{bucket}', { params }));
  const found = useQuery({ queryKey, queryFn: ask });
  const rules = found.data?.rules ?? [];
  const saving = useMutation({
    // The API replaces all rules: what somebody else has set since the dialog was opened stays.
    mutationFn: async (changed: (rules: Rule[]) => Rule[]) =>
      data(api.PUT('/api/v1/lifecycles/{bucket}', { params, body: { rules: changed((await ask()).rules) } })),
    onSuccess: (reply) => {
      cache.setQueryData(queryKey, reply);
      setEditing(undefined);
    },
  });
  if (editing) {
    return (
      <Dialog title={own.ruleTitle} onClose={() => setEditing(undefined)}>
        <RuleForm
          before={editing.rule}
          error={saving.error}
          isBusy={saving.isPending}
          save={(rule) => saving.mutate((now) => withRule(now, rule))}
          onClose={() => setEditing(undefined)}
        />
      </Dialog>
    );
  }
  return (
    <Dialog title={own.title(bucket)} onClose={onClose} size="lg">
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          {own.hint}
        </Text>
        <Failed error={found.error ?? saving.error} onRetry={() => void found.refetch()} />
        {found.isPending && <Loader aria-label={texts.app.loading} />}
        {found.isSuccess && rules.length === 0 && <Text>{own.none}</Text>}
        {rules.length > 0 && (
          <ul className="versions" aria-label={own.rules}>
            {rules.map((rule) => (
              <RuleLine
                key={rule.id}
                rule={rule}
                isBusy={saving.isPending}
                onEdit={() => setEditing({ rule })}
                onSwitch={() => saving.mutate((now) => withRule(now, { ...rule, enabled: rule.enabled === false }))}
                onRemove={() => saving.mutate((now) => now.filter(({ id }) => id !== rule.id))}
              />
            ))}
          </ul>
        )}
        <CloseDialogButton onClose={onClose}>
          <Button variant="default" disabled={!found.isSuccess} onClick={() => setEditing({ rule: undefined })}>
            {own.add}
          </Button>
        </CloseDialogButton>
      </Stack>
    </Dialog>
  );
}

interface LineProps {
  rule: Rule;
  isBusy: boolean;
  onEdit: () => void;
  onSwitch: () => void;
  onRemove: () => void;
}

function RuleLine({ rule, isBusy, onEdit, onSwitch, onRemove }: LineProps) {
  const { locale } = useTexts();
  const own = useLifecycleTexts();
  const about = aboutText(rule, own, locale);
  const isOff = rule.enabled === false;
  const switching = isOff ? own.switchOn : own.switchOff;
  const button = { size: 'compact-sm', variant: 'default', disabled: isBusy } as const;
  return (
    <li className="version">
      <div className="person-text">
        <Text size="sm" fw={600} className="breakable">
          {about} {isOff && (
            <Badge variant="default" tt="none">
              {own.off}
            </Badge>
          )}
        </Text>
        {actionTexts(rule, own, locale).map((text) => (
          <Text key={text} size="sm">
            {text}
          </Text>
        ))}
      </div>
      <Group gap="xs">
        <Button {...button} aria-label={`${own.edit}: ${about}`} onClick={onEdit}>
          {own.edit}
        </Button>
        <Button {...button} aria-label={`${switching}: ${about}`} onClick={onSwitch}>
          {switching}
        </Button>
        <Button {...button} variant="light" color="red" aria-label={`${own.remove}: ${about}`} onClick={onRemove}>
          {own.remove}
        </Button>
      </Group>
    </li>
  );
}
