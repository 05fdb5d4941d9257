import { Alert, Anchor, Button, Code, Loader, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';

import { api, data } from '../api/client';
import type { components } from '../api/schema';
import { useTexts, words } from '../texts';
import { BEGIN, CLIENT } from './session';

type SignOn = components['schemas']['SignOn'];

/**
 * Sign-in at an OpenID Connect provider, with its device flow: the provider shows its own page in another tab, and no
 * address of this proxy has to be known to it.
 */
export function SingleSignOn({ onDone, divider }: { onDone: () => void; divider: ReactNode }) {
  const texts = useTexts();
  const [provider, setProvider] = useState('');
  const offers = useQuery({ queryKey: ['sso'], queryFn: () => data(api.GET('/api/v1/auth/sso')), retry: false });
  const providers = offers.data?.providers ?? [];
  if (providers.length === 0) return null;
  return (
    <>
      {divider}
      <Stack>
        {provider ? (
          <DeviceFlow provider={provider} onDone={onDone} onEnded={() => setProvider('')} />
        ) : (
          providers.map(({ name }) => (
            <Button key={name} variant="default" onClick={() => setProvider(name)}>
              {texts.signIn.with(name)}
            </Button>
          ))
        )}
      </Stack>
    </>
  );
}

function DeviceFlow({ provider, onDone, onEnded }: { provider: string; onDone: () => void; onEnded: () => void }) {
  const texts = useTexts();
  const [signOn, setSignOn] = useState<SignOn>();
  const [problem, setProblem] = useState<unknown>();
  useEffect(() => {
    const ended = new AbortController();
    follow(provider, setSignOn, ended.signal).then(onDone, (error: unknown) => {
      if (!ended.signal.aborted) setProblem(error);
    });
    return () => ended.abort();
  }, [provider, onDone]);

  if (problem) {
    return (
      <Alert color="red" role="alert" withCloseButton closeButtonLabel={texts.app.close} onClose={onEnded}>
        {words(problem, texts)}
      </Alert>
    );
  }
  const address = signOn?.verification_uri_complete || signOn?.verification_uri;
  return (
    <Stack gap="xs" aria-live="polite">
      {address && (
        <Anchor href={address} target="_blank" rel="noreferrer">
          {texts.signIn.openProvider(provider)}
        </Anchor>
      )}
      {signOn?.user_code && (
        <Text size="sm">
          {texts.signIn.deviceCode} <Code>{signOn.user_code}</Code>
        </Text>
      )}
      <Text size="sm">
        <Loader size="xs" component="span" /> {texts.signIn.waiting}
      </Text>
    </Stack>
  );
}

/** Begin a log-in and poll it until it is done. */
async function follow(provider: string, show: (signOn: SignOn) => void, signal: AbortSignal): Promise<void> {
  let signOn = await data(
    api.POST('/api/v1/auth/sso', { body: { provider, method: 'device', client: CLIENT }, signal }),
  );
  while (signOn.state !== 'done') {
    show(signOn);
    await pause(Math.max(1, signOn.poll_seconds ?? 0) * 1000, signal);
    signOn = await data(api.POST('/api/v1/auth/sso/continue', { ...BEGIN, body: { id: signOn.id }, signal }));
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
