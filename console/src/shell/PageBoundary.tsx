import { Button, Center, Loader, Stack, Text } from '@mantine/core';
import { Component, type ReactNode, Suspense } from 'react';

import { useTexts } from '../texts';

/** Shows that a page is being loaded, or that it could not be: the proxy is away, or has a newer console. */
export function PageBoundary({ children }: { children: ReactNode }) {
  const texts = useTexts();
  return (
    <Boundary>
      <Suspense
        fallback={
          <Center p="xl">
            <Loader aria-label={texts.app.loading} />
          </Center>
        }
      >
        {children}
      </Suspense>
    </Boundary>
  );
}

class Boundary extends Component<{ children: ReactNode }, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override render() {
    return this.state.hasFailed ? <Fallen /> : this.props.children;
  }
}

function Fallen() {
  const texts = useTexts();
  return (
    <Stack align="center" p="xl" role="alert">
      <Text>{texts.app.fallen}</Text>
      <Button onClick={() => window.location.reload()}>{texts.app.reload}</Button>
    </Stack>
  );
}
