import { Text } from '@mantine/core';

import { PageHead } from '../shell/PageHead';
import { useTexts } from '../texts';
import { LinkTable } from './LinkTable';

/** Every share link that the account has made. */
export function LinksPage() {
  const texts = useTexts();
  return (
    <div className="scrolled">
      <PageHead title={texts.links.mine} />
      <Text size="sm" c="dimmed" mb="xs">
        {texts.links.how}
      </Text>
      <LinkTable />
    </div>
  );
}
