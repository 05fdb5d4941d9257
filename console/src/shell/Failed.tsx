import { Alert, Button } from '@mantine/core';

import { useTexts, words } from '../texts';

/** Why something could not be shown, with a button to try again. Nothing without an error. */
export function Failed({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const texts = useTexts();
  if (!error) return null;
  return (
    <Alert color="red" role="alert" mb="xs">
      {words(error, texts)}{' '}
      {onRetry && (
        <Button size="compact-sm" variant="default" onClick={onRetry}>
          {texts.app.retry}
        </Button>
      )}
    </Alert>
  );
}
