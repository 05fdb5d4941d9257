import { Button, Group, Text } from '@mantine/core';
import type { ReactNode } from 'react';

import { NO_SEARCH, type Place, usePlace } from '../router';
import type { Account } from '../session/session';
import { useTexts } from '../texts';
import { LockIcon } from './icons';
import { PlaceLink } from './PlaceLink';
import { Preferences } from './Preferences';

interface Props {
  account: Account;
  onSignOut: () => void;
  children: ReactNode;
}

/** What surrounds every page: its name, the other pages, and the account. */
export function Shell({ account, onSignOut, children }: Props) {
  const texts = useTexts();
  const place = usePlace();
  return (
    <div className="shell">
      <a className="skip" href="#content">
        {texts.app.skip}
      </a>
      <header className="bar">
        <Group gap="xs" wrap="nowrap" className="brand">
          <LockIcon />
          <Text fw={700}>Lockstep</Text>
        </Group>
        <nav aria-label={texts.app.menu} className="pages">
          <PageLink to={{ page: 'files', bucket: '', folder: '' }} here={['files', 'trash', 'usage', 'edit'].includes(place.page)}>
            {texts.app.files}
          </PageLink>
          <PageLink to={{ page: 'search', search: NO_SEARCH }} here={place.page === 'search'}>
            {texts.app.search}
          </PageLink>
          <PageLink to={{ page: 'links' }} here={place.page === 'links'}>
            {texts.app.links}
          </PageLink>
          <PageLink to={{ page: 'locks' }} here={place.page === 'locks'}>
            {texts.app.locks}
          </PageLink>
          {account.admin && (
            <PageLink to={{ page: 'cluster' }} here={place.page === 'cluster'}>
              {texts.app.cluster}
            </PageLink>
          )}
          {account.administers && (
            <PageLink to={{ page: 'admin', part: 'accounts' }} here={place.page === 'admin'}>
              {texts.app.accounts}
            </PageLink>
          )}
        </nav>
        <Group gap="xs" wrap="nowrap" className="account">
          <PlaceLink
            to={{ page: 'account' }}
            className="account-name"
            aria-current={place.page === 'account' ? 'page' : undefined}
          >
            {account.name}
          </PlaceLink>
          <Preferences />
          <Button size="xs" variant="default" onClick={onSignOut}>
            {texts.app.signOut}
          </Button>
        </Group>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
        <div id="menus" />
      </main>
    </div>
  );
}

function PageLink({ to, here, children }: { to: Place; here: boolean; children: ReactNode }) {
  return (
    <PlaceLink to={to} className="page-link" aria-current={here ? 'page' : undefined}>
      {children}
    </PlaceLink>
  );
}
