import { Center, Loader, Text } from '@mantine/core';
import { useRef } from 'react';

import { FilesPage } from './files/FilesPage';
import { keeper, LockActionsProvider } from './locks/actions';
import { LocksPage } from './locks/LocksPage';
import { usePlace } from './router';
import { signOut, useSession } from './session/session';
import { SignIn } from './session/SignIn';
import { Shell } from './shell/Shell';
import { useTexts } from './texts';

export function App() {
  const texts = useTexts();
  const place = usePlace();
  const { account, unreachable, refresh } = useSession();
  const wasSignedIn = useRef(false);
  if (account === undefined) {
    return (
      <Center component="main" h="100dvh">
        {unreachable ? <Text role="alert">{texts.app.offline}</Text> : <Loader aria-label={texts.app.loading} />}
      </Center>
    );
  }
  if (account === null) return <SignIn hasEnded={wasSignedIn.current} onDone={() => void refresh()} />;
  wasSignedIn.current = true;
  return (
    <Shell
      account={account}
      onSignOut={() => void keeper.letGo().then(signOut)}
    >
      <LockActionsProvider account={account}>
        {place.page === 'locks' ? <LocksPage account={account} /> : <FilesPage account={account} />}
      </LockActionsProvider>
    </Shell>
  );
}
