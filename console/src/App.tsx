import { Center, Loader, Text } from '@mantine/core';
import { lazy, useRef } from 'react';

import { FilesPage } from './files/FilesPage';
import { keeper, LockActionsProvider } from './locks/actions';
import { usePlace } from './router';
import { type Account, signOut, useSession } from './session/session';
import { SignIn } from './session/SignIn';
import { PageBoundary } from './shell/PageBoundary';
import { Shell } from './shell/Shell';
import { useTexts } from './texts';

// What most people do not open at once is loaded when they do.
const AccountPage = lazy(() => import('./account/AccountPage').then((part) => ({ default: part.AccountPage })));
const AdminPage = lazy(() => import('./admin/AdminPage').then((part) => ({ default: part.AdminPage })));
const ClusterPage = lazy(() => import('./cluster/ClusterPage').then((part) => ({ default: part.ClusterPage })));
const EditPage = lazy(() => import('./edit/EditPage').then((part) => ({ default: part.EditPage })));
const LinksPage = lazy(() => import('./sharing/LinksPage').then((part) => ({ default: part.LinksPage })));
const LocksPage = lazy(() => import('./locks/LocksPage').then((part) => ({ default: part.LocksPage })));
const SearchPage = lazy(() => import('./search/SearchPage').then((part) => ({ default: part.SearchPage })));
const TrashPage = lazy(() => import('./trash/TrashPage').then((part) => ({ default: part.TrashPage })));
const UsagePage = lazy(() => import('./usage/UsagePage').then((part) => ({ default: part.UsagePage })));

export function App() {
  const texts = useTexts();
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
    <Shell account={account} onSignOut={() => void keeper.letGo().then(signOut)}>
      <LockActionsProvider account={account}>
        <Page account={account} />
      </LockActionsProvider>
    </Shell>
  );
}

function Page({ account }: { account: Account }) {
  const texts = useTexts();
  const place = usePlace();
  const mayOpen = place.page === 'cluster' ? account.admin : place.page !== 'admin' || account.administers;
  return (
    <PageBoundary key={place.page === 'edit' ? `${place.bucket}/${place.path}` : place.page}>
      {place.page === 'files' && <FilesPage account={account} />}
      {place.page === 'search' && <SearchPage {...place} />}
      {place.page === 'trash' && <TrashPage account={account} bucket={place.bucket} />}
      {place.page === 'usage' && <UsagePage account={account} bucket={place.bucket} />}
      {place.page === 'edit' && <EditPage account={account} bucket={place.bucket} path={place.path} />}
      {!mayOpen && <Text>{texts.app.onlyAdministrators}</Text>}
      {place.page === 'cluster' && mayOpen && <ClusterPage />}
      {place.page === 'admin' && mayOpen && <AdminPage account={account} part={place.part} />}
      {place.page === 'account' && <AccountPage account={account} />}
      {place.page === 'links' && <LinksPage />}
      {place.page === 'locks' && <LocksPage account={account} />}
    </PageBoundary>
  );
}
