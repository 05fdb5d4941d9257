import { Button, CloseButton, Fieldset, Group, Loader, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, data } from '../api/client';
import type { Entry } from '../files/entries';
import { Dialog } from '../shell/Dialog';
import { CloseDialogButton, DialogButtons } from '../shell/DialogButtons';
import { Failed } from '../shell/Failed';
import { FactList } from '../shell/FactList';
import { useNotices } from '../shell/notices';
import { useTexts } from '../texts';
import { type Facts, factsChange, type FactsChange, MOST_TAGS, type Tag, tagProblems, tagsOf } from './facts';

interface Props {
  bucket: string;
  entry: Entry;
  canChange: boolean;
  onClose: () => void;
}

/** A file's description and tags, to be changed, and what its writer stored with it. */
export function FactsDialog({ bucket, entry: { name, path }, canChange, onClose }: Props) {
  const texts = useTexts();
  const { say } = useNotices();
  const cache = useQueryClient();
  const queryKey = ['facts', bucket, path];
  const params = { path: { bucket, path } };
  const found = useQuery({
    queryKey,
    queryFn: () => data(api.GET('/api/v1/facts/{bucket}/{path}', { params })),
    refetchOnWindowFocus: false, // what is typed would stay, and what is under it change
    staleTime: 0,
    gcTime: 0,
  });
  const saving = useMutation({
    mutationFn: (change: FactsChange) =>
      data(api.PATCH('/api/v1/facts/{bucket}/{path}', { params, body: { ...change, replace_tags: false } })),
    onSuccess: (facts) => {
      cache.setQueryData(queryKey, facts);
      say(texts.facts.saved(path));
      onClose();
    },
  });
  return (
    <Dialog title={texts.facts.title(name)} onClose={onClose} size="lg">
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.data && (
        <>
          <FactList facts={[[texts.facts.type, found.data.content_type], ...Object.entries(found.data.metadata)]} />
          {canChange ? (
            <FactsForm facts={found.data} error={saving.error} isBusy={saving.isPending} save={saving.mutate} onClose={onClose} />
          ) : (
            <ShownFacts facts={found.data} onClose={onClose} />
          )}
        </>
      )}
    </Dialog>
  );
}

function ShownFacts({ facts, onClose }: { facts: Facts; onClose: () => void }) {
  const texts = useTexts();
  return (
    <Stack gap="sm" mt="sm">
      <Text className="said">{facts.description || texts.facts.noDescription}</Text>
      <FactList facts={tagsOf(facts)} />
      <CloseDialogButton onClose={onClose} />
    </Stack>
  );
}

interface FormProps {
  facts: Facts;
  error: Error | null;
  isBusy: boolean;
  save: (change: FactsChange) => void;
  onClose: () => void;
}

function FactsForm({ facts, error, isBusy, save, onClose }: FormProps) {
  const texts = useTexts();
  const [description, setDescription] = useState(facts.description);
  const [rows, setRows] = useState<Tag[]>(() => tagsOf(facts));
  const problems = tagProblems(rows);
  const isGood = problems.every((problem) => !problem);
  function submit(event: FormEvent) {
    event.preventDefault();
    const change = factsChange(facts, description, rows);
    if (!isGood) return;
    if (change) save(change);
    else onClose();
  }
  function setRow(index: number, row: Tag | undefined) {
    setRows(rows.flatMap((one, at) => (at !== index ? [one] : row ? [row] : [])));
  }
  return (
    <form onSubmit={submit}>
      <Stack gap="sm" mt="sm">
        <Textarea
          label={texts.facts.description}
          value={description}
          onChange={(event) => setDescription(event.currentTarget.value)}
          rows={4}
          maxLength={2000}
          data-autofocus
        />
        {facts.tags === null ? (
          <Text size="sm">{texts.facts.hiddenTags}</Text>
        ) : (
          <Fieldset legend={texts.facts.tags}>
            <Stack gap="xs">
              {rows.map(([key, value], index) => (
                <Group key={index} gap="xs" wrap="nowrap" align="flex-start">
                  <TextInput
                    aria-label={texts.facts.key(index + 1)}
                    placeholder={texts.facts.keyHint}
                    value={key}
                    onChange={(event) => setRow(index, [event.currentTarget.value, value])}
                    error={problems[index] && texts.facts.problems[problems[index]]}
                    maxLength={128}
                    className="tag-part"
                  />
                  <TextInput
                    aria-label={texts.facts.value(index + 1)}
                    placeholder={texts.facts.valueHint}
                    value={value}
                    onChange={(event) => setRow(index, [key, event.currentTarget.value])}
                    maxLength={256}
                    className="tag-part"
                  />
                  <CloseButton aria-label={texts.facts.remove(key || String(index + 1))} onClick={() => setRow(index, undefined)} />
                </Group>
              ))}
              {rows.length < MOST_TAGS && (
                <Group>
                  <Button size="compact-sm" variant="default" onClick={() => setRows([...rows, ['', '']])}>
                    {texts.facts.add}
                  </Button>
                </Group>
              )}
            </Stack>
          </Fieldset>
        )}
        <Text size="sm" c="dimmed">
          {texts.facts.hint}
        </Text>
        <Failed error={error} />
        <DialogButtons action={texts.app.save} onCancel={onClose} isBusy={isBusy} isDisabled={!isGood} />
      </Stack>
    </form>
  );
}
