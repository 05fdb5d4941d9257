import { Group, Title } from '@mantine/core';
import { type ReactNode, useEffect } from 'react';

/** A page's heading, which is also the tab's title, and what stands beside it. */
export function PageHead({ title, children }: { title: string; children?: ReactNode }) {
  useEffect(() => {
    document.title = `${title} – Lockstep`;
  }, [title]);
  return (
    <Group justify="space-between" mb="sm" gap="xs">
      <Title order={1} size="h3" className="breakable">
        {title}
      </Title>
      {children}
    </Group>
  );
}
