import { Badge, Button, Checkbox, Group, Loader, NativeSelect, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, data } from '../api/client';
import type { components } from '../api/schema';
import { GROUPS_KEY, listGroups } from '../groups/groups';
import { choices } from '../shell/choices';
import { Failed } from '../shell/Failed';
import { NameField } from '../shell/NameField';
import { useTexts } from '../texts';
import { ACCOUNTS, EVERYBODY, grantHere, GROUP, highest, type Level, reasonOf, shownOf, whoText } from './access';

type Reply = components['schemas']['AccessReply'];
type Change = { grants?: { account: string; level: Level | null }[]; public?: boolean };

/** Who may do what with a file or folder, and why; for those who may change it, with the controls for that. */
export function PeopleTab({ bucket, path }: { bucket: string; path: string }) {
  const texts = useTexts();
  const cache = useQueryClient();
  const queryKey = ['access', bucket, path];
  const found = useQuery({
    queryKey,
    queryFn: () =>
      data(api.GET('/api/v1/access/{bucket}', { params: { path: { bucket }, query: { ...(path && { path }) } } })),
  });
  const change = useMutation({
    mutationFn: ({ grants = [], public: isPublic }: Change) =>
      data(
        api.PATCH('/api/v1/access/{bucket}', {
          params: { path: { bucket } },
          body: { path, grants, public: isPublic ?? null },
        }),
      ),
    onSuccess: (reply) => cache.setQueryData(queryKey, reply),
  });
  const reply = found.data;
  return (
    <>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {reply?.may_change && <GiveForm isBusy={change.isPending} give={(grant) => change.mutateAsync({ grants: [grant] })} />}
      <Failed error={change.error} />
      {reply && (
        <ul className="people" aria-label={texts.sharing.people}>
          {shownOf(reply).map((person) => (
            <Person
              key={person.account}
              reply={reply}
              person={person}
              setLevel={(level) => change.mutate({ grants: [{ account: person.account, level }] })}
            />
          ))}
        </ul>
      )}
      {reply?.may_change && (
        <Checkbox
          mt="md"
          label={texts.sharing.public}
          description={texts.sharing.publicHint}
          checked={grantHere(reply, EVERYBODY) !== undefined}
          disabled={change.isPending}
          onChange={(event) => change.mutate({ public: event.currentTarget.checked })}
        />
      )}
    </>
  );
}

function GiveForm({ give, isBusy }: { give: (grant: { account: string; level: Level }) => Promise<unknown>; isBusy: boolean }) {
  const texts = useTexts();
  const [account, setAccount] = useState('');
  const [level, setLevel] = useState<Level>('read');
  const known = useQuery({ queryKey: GROUPS_KEY, queryFn: listGroups });
  function submit(event: FormEvent) {
    event.preventDefault();
    give({ account: account.trim(), level }).then(
      () => setAccount(''),
      () => undefined, // shown below
    );
  }
  return (
    <form onSubmit={submit}>
      <Group gap="xs" align="flex-start" mb="sm">
        <NameField
          label={texts.sharing.account}
          description={texts.sharing.accountHint}
          inputWrapperOrder={['label', 'input', 'description', 'error']}
          value={account}
          onChange={setAccount}
          className="search-text"
          list="known-groups"
          data-autofocus
        />
        <datalist id="known-groups">
          {known.data?.groups.map(({ name, description }) => (
            <option key={name} value={`${GROUP}${name}`} label={description || undefined} />
          ))}
        </datalist>
        <NativeSelect
          label={texts.sharing.may}
          value={level}
          onChange={(event) => setLevel(event.currentTarget.value as Level)}
          data={choices(texts.sharing.levels)}
        />
        <Button type="submit" loading={isBusy} className="under-label">
          {texts.sharing.give}
        </Button>
      </Group>
    </form>
  );
}

interface PersonProps {
  reply: Reply;
  person: Reply['people'][number];
  setLevel: (level: Level | null) => void;
}

function Person({ reply, person, setLevel }: PersonProps) {
  const texts = useTexts();
  const here = grantHere(reply, person.account);
  const level = highest(person.levels);
  const name = whoText(person.account, texts);
  const isRest = person.account === ACCOUNTS || person.account === EVERYBODY;
  return (
    <li className="person">
      <div className="person-text">
        <Text size="sm" fw={600} className="breakable">
          {name}
        </Text>
        <Text size="sm" c="dimmed" className="breakable">
          {reasonOf(person, reply, texts)}
        </Text>
      </div>
      {reply.may_change && here && !isRest ? (
        <NativeSelect
          size="xs"
          aria-label={texts.sharing.mayOne(name)}
          value={here.level}
          onChange={(event) => setLevel((event.currentTarget.value || null) as Level | null)}
          data={[
            ...choices(texts.sharing.levels),
            { value: '', label: texts.sharing.take },
          ]}
        />
      ) : (
        <Badge variant="default" tt="none">
          {level ? texts.sharing.levels[level] : texts.sharing.nothing}
        </Badge>
      )}
    </li>
  );
}
