import { Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';

import { DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { NameField } from '../shell/NameField';
import { useTexts } from '../texts';
import { hasOtherAction, NO_WISH, problemsOf, type Rule, ruleOf, type Wish, wishOf } from './lifecycle';
import { useLifecycleTexts } from './texts';

const COUNTS = ['expireDays', 'noncurrentDays', 'keepNewer', 'abortDays'] as const;

interface Props {
  /** Undefined: a new rule. */
  before: Rule | undefined;
  error: Error | null;
  isBusy: boolean;
  save: (rule: Rule) => void;
  onClose: () => void;
}

/** The fields of a rule. Conditions on tags and sizes, as S3 programs set them, stay as they are. */
export function RuleForm({ before, error, isBusy, save, onClose }: Props) {
  const texts = useTexts();
  const own = useLifecycleTexts();
  const [wish, setWish] = useState<Wish>(before ? wishOf(before) : NO_WISH);
  const problems = problemsOf(wish, before !== undefined && hasOtherAction(before));
  const set = (name: keyof Wish, value: string) => setWish((now) => ({ ...now, [name]: value }));
  const isGood = Object.keys(problems).length === 0;
  const isTouched = Object.values(wish).some((text) => text !== '');
  function submit(event: FormEvent) {
    event.preventDefault();
    if (isGood) save(ruleOf(wish, before));
  }
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        <NameField
          label={own.prefix}
          description={own.prefixHint}
          value={wish.prefix}
          onChange={(prefix) => set('prefix', prefix)}
          required={false}
          maxLength={1024}
          data-autofocus
        />
        {COUNTS.map((name) => (
          <TextInput
            key={name}
            label={own[name]}
            inputMode="numeric"
            autoComplete="off"
            value={wish[name]}
            onChange={(event) => set(name, event.currentTarget.value)}
            error={problems[name] && own.problems[problems[name]]}
          />
        ))}
        <Text size="sm" c="dimmed" role="status">
          {problems.rule && isTouched ? own.problems[problems.rule] : own.emptyHint}
        </Text>
        <Failed error={error} />
        <DialogButtons action={texts.app.save} onCancel={onClose} isBusy={isBusy} isDisabled={!isGood} />
      </Stack>
    </form>
  );
}
