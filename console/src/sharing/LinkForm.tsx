import { Alert, Button, CopyButton, Group, NativeSelect, PasswordInput, Radio, Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ChangeEvent, type FormEvent, useState } from 'react';

import { api, data } from '../api/client';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';
import { addressOfLink, isCount, isSize, shareOf, USUAL, type Wish } from './links';

/** Makes a link to a file or folder, and shows its address, which is not to be had again. */
export function LinkForm({ bucket, path }: { bucket: string; path: string }) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [wish, setWish] = useState(USUAL);
  const isFolder = path === '' || path.endsWith('/');
  const make = useMutation({
    mutationFn: () => data(api.POST('/api/v1/shares', { body: shareOf(bucket, path, wish) })),
    onSuccess: () => {
      setWish(USUAL);
      return cache.invalidateQueries({ queryKey: ['links'] });
    },
  });
  const isGood = isCount(wish.uses) && isSize(wish.megabytes);
  function submit(event: FormEvent) {
    event.preventDefault();
    if (isGood) make.mutate();
  }
  function set(key: keyof Wish) {
    return (event: ChangeEvent<HTMLInputElement | HTMLSelectElement>) => {
      const { value } = event.currentTarget; // the event is over when the state changes
      setWish((now) => ({ ...now, [key]: value }));
    };
  }
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        {isFolder && (
          <Radio.Group
            label={texts.links.kind}
            value={wish.mode}
            onChange={(mode) => setWish({ ...wish, mode: mode as Wish['mode'] })}
          >
            <Stack gap="xs" mt="xs">
              <Radio value="read" label={texts.links.modes.read} description={texts.links.readHint} />
              <Radio value="upload" label={texts.links.modes.upload} description={texts.links.uploadHint} />
            </Stack>
          </Radio.Group>
        )}
        <Group gap="sm" align="flex-start" grow preventGrowOverflow={false}>
          <NativeSelect
            label={texts.links.lasts}
            value={wish.days}
            onChange={set('days')}
            data={Object.entries(texts.links.times).map(([days, label]) => ({ value: days === '0' ? '' : days, label }))}
          />
          <PasswordInput
            label={texts.links.password}
            value={wish.password}
            onChange={set('password')}
            autoComplete="new-password"
            maxLength={256}
          />
          <TextInput
            label={texts.links.most[wish.mode]}
            inputMode="numeric"
            value={wish.uses}
            onChange={set('uses')}
            error={!isCount(wish.uses) && texts.links.badCount}
          />
          {wish.mode === 'upload' && (
            <TextInput
              label={texts.links.megabytes}
              inputMode="decimal"
              value={wish.megabytes}
              onChange={set('megabytes')}
              error={!isSize(wish.megabytes) && texts.links.badSize}
            />
          )}
        </Group>
        <TextInput label={texts.links.note} value={wish.note} onChange={set('note')} maxLength={256} />
        <Failed error={make.error} />
        <Group justify="flex-end">
          <Button type="submit" disabled={!isGood} loading={make.isPending}>
            {texts.links.make}
          </Button>
        </Group>
        {make.data?.token && <NewAddress address={addressOfLink(make.data.token)} />}
      </Stack>
    </form>
  );
}

function NewAddress({ address }: { address: string }) {
  const texts = useTexts();
  return (
    <Alert role="status" title={texts.links.made}>
      <Group gap="xs" wrap="nowrap">
        <TextInput
          aria-label={texts.links.address}
          value={address}
          readOnly
          onFocus={(event) => event.currentTarget.select()}
          className="search-text"
        />
        <CopyButton value={address}>
          {({ copied, copy }) => <Button onClick={copy}>{copied ? texts.links.copied : texts.links.copy}</Button>}
        </CopyButton>
      </Group>
    </Alert>
  );
}
