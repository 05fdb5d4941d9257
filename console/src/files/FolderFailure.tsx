import { Text } from '@mantine/core';

import { failure } from '../api/failure';
import { useTexts, words } from '../texts';
import { type FolderChange, UnfinishedChange } from './folders';

const MOST_NAMED = 5;

/** How far a large folder's change is, or what it could not do and why. */
export function FolderFailure({ error, change }: { error: Error | null; change: FolderChange | undefined }) {
  const texts = useTexts();
  if (change) {
    return (
      <Text role="status" size="sm" mt="sm">
        {texts.folders.progress(change.done, change.total)}
      </Text>
    );
  }
  if (!error) return null;
  const unfinished = error instanceof UnfinishedChange ? error.change : undefined;
  return (
    <div role="alert">
      <Text c="var(--mantine-color-error)" mt="sm">
        {unfinished ? texts.folders.unfinished(unfinished.done, unfinished.failed ?? 0) : words(error, texts)}
      </Text>
      <ul className="breakable">
        {unfinished?.problems?.slice(0, MOST_NAMED).map(({ path, problem }) => (
          <li key={path}>
            {path}: {words(failure(problem.status, problem), texts)}
          </li>
        ))}
      </ul>
    </div>
  );
}
