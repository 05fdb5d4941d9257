import { Tabs } from '@mantine/core';

import { Dialog } from '../shell/Dialog';
import { useTexts } from '../texts';
import { LinkForm } from './LinkForm';
import { LinkTable } from './LinkTable';
import { PeopleTab } from './PeopleTab';

interface Props {
  bucket: string;
  /** A file; or a folder, if it is empty or ends with a slash. */
  path: string;
  canMakeLinks: boolean;
  onClose: () => void;
}

/** Who may use a file or folder: accounts, and people with a link. */
export function ShareDialog({ bucket, path, canMakeLinks, onClose }: Props) {
  const texts = useTexts();
  return (
    <Dialog title={texts.sharing.title(path || bucket)} onClose={onClose} size="xl">
      <Tabs defaultValue="people">
        <Tabs.List mb="md">
          <Tabs.Tab value="people">{texts.sharing.peopleTab}</Tabs.Tab>
          <Tabs.Tab value="links">{texts.sharing.linksTab}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="people">
          <PeopleTab bucket={bucket} path={path} />
        </Tabs.Panel>
        <Tabs.Panel value="links">
          {canMakeLinks && <LinkForm bucket={bucket} path={path} />}
          <LinkTable bucket={bucket} path={path} />
        </Tabs.Panel>
      </Tabs>
    </Dialog>
  );
}
