import { ActionIcon, Menu } from '@mantine/core';
import type { ReactNode } from 'react';

import { useTexts } from '../texts';
import { MoreIcon } from './icons';

/** The menu at the end of a row; `name` is what the row is about. */
export function RowMenu({ name, children }: { name: string; children: ReactNode }) {
  const texts = useTexts();
  return (
    <Menu position="bottom-end" withInitialFocusPlaceholder={false} portalProps={{ target: '#menus' }}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={texts.files.more(name)}>
          <MoreIcon />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>{children}</Menu.Dropdown>
    </Menu>
  );
}
