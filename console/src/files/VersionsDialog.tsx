import { Badge, Button, Center, Group, Loader, Text } from '@mantine/core';
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';

import { api, data, fileAddress } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { useNotices } from '../shell/notices';
import { useTexts, words } from '../texts';
import type { Entry, FileVersion } from './entries';
import { sizeText, timeText } from './format';
import { heldLocks } from './uploads';

const PAGE = 50;

interface Props {
  bucket: string;
  entry: Entry;
  canRestore: boolean;
  onClose: () => void;
}

/** A file's versions, newest first: download one, or make its content the current one again. */
export function VersionsDialog({ bucket, entry, canRestore, onClose }: Props) {
  const texts = useTexts();
  const { say } = useNotices();
  const cache = useQueryClient();
  const path = { bucket, path: entry.path };
  const found = useInfiniteQuery({
    queryKey: ['versions', bucket, entry.path],
    queryFn: ({ pageParam }) =>
      data(
        api.GET('/api/v1/versions/{bucket}/{path}', {
          params: { path, query: { limit: PAGE, ...(pageParam && { cursor: pageParam }) } },
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => (page.next_after?.[1] as string | undefined) ?? null,
  });
  const restore = useMutation({
    mutationFn: (version: string) =>
      data(
        api.POST('/api/v1/versions/{bucket}/{path}/restore', {
          params: { path },
          body: { version, lock_number: heldLocks.numberOf(bucket, entry.path) ?? null },
        }),
      ),
    onSuccess: async () => {
      await Promise.all([found.refetch(), cache.invalidateQueries({ queryKey: ['files', bucket] })]);
      say(texts.versions.restored(entry.name));
    },
  });
  const versions = found.data?.pages.flatMap((page) => page.versions) ?? [];
  const problem = restore.error ?? found.error;
  return (
    <Dialog title={texts.versions.title(entry.name)} onClose={onClose} size="lg">
      {problem && (
        <Text role="alert" c="var(--mantine-color-error)" mb="sm">
          {words(problem, texts)}
        </Text>
      )}
      {found.isPending && (
        <Center>
          <Loader aria-label={texts.app.loading} />
        </Center>
      )}
      {found.isSuccess && versions.length === 0 && <Text>{texts.versions.none}</Text>}
      <ul className="versions">
        {versions.map((version) => (
          <li key={version.version} className="version">
            <Facts version={version} />
            {!version.delete_marker && (
              <Group gap="xs">
                <Button
                  component="a"
                  size="compact-sm"
                  variant="default"
                  href={fileAddress(bucket, entry.path, version.version)}
                  download={entry.name}
                >
                  {texts.files.download}
                </Button>
                {canRestore && !isCurrent(version) && (
                  <Button
                    size="compact-sm"
                    loading={restore.isPending && restore.variables === version.version}
                    onClick={() => restore.mutate(version.version)}
                  >
                    {texts.versions.restore}
                  </Button>
                )}
              </Group>
            )}
          </li>
        ))}
      </ul>
      {found.hasNextPage && (
        <Button variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
          {texts.versions.more}
        </Button>
      )}
    </Dialog>
  );
}

/** The API leaves out what is as usual: only older versions say that they are not the current one. */
function isCurrent(version: FileVersion): boolean {
  return version.current !== false;
}

function Facts({ version }: { version: FileVersion }) {
  const texts = useTexts();
  return (
    <div>
      <Text size="sm">
        {timeText(version.created_at, texts.locale)} {isCurrent(version) && <Badge>{texts.versions.current}</Badge>}
        {version.delete_marker && <Badge color="gray">{texts.versions.deleted}</Badge>}
      </Text>
      <Text size="sm" c="dimmed">
        {version.author}
        {!version.delete_marker && ` · ${sizeText(version.size, texts.locale)}`}
      </Text>
    </div>
  );
}
