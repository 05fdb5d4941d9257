import { Badge, Button, Group, Loader, Paper, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';

import { api, data } from '../api/client';
import { BucketIcon } from '../shell/icons';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts, words } from '../texts';
import { SharedWithMe } from './SharedWithMe';

export function useBuckets() {
  return useQuery({ queryKey: ['buckets'], queryFn: () => data(api.GET('/api/v1/buckets')) });
}

/** The buckets that the account may use. */
export function BucketList() {
  const texts = useTexts();
  const found = useBuckets();
  const buckets = found.data?.buckets ?? [];
  return (
    <>
      <Title order={1} size="h3" mb="sm">
        {texts.files.buckets}
      </Title>
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.isError && (
        <Group role="alert">
          <Text>{words(found.error, texts)}</Text>
          <Button size="compact-sm" variant="default" onClick={() => void found.refetch()}>
            {texts.app.retry}
          </Button>
        </Group>
      )}
      {found.isSuccess && buckets.length === 0 && <Text>{texts.files.noBuckets}</Text>}
      <ul className="buckets" aria-label={texts.files.buckets}>
        {buckets.map((bucket) => (
          <Paper component="li" key={bucket.name} withBorder p="sm" className="bucket">
            <BucketIcon />
            <PlaceLink to={{ page: 'files', bucket: bucket.name, folder: '' }} className="entry-name">
              {bucket.name}
            </PlaceLink>
            <Group gap="xs" ml="auto">
              <Badge variant="default" tt="none">
                {bucket.shared ? texts.files.bucketShared : texts.files.bucketPrivate}
              </Badge>
              {bucket.versioning === 'enabled' && (
                <Badge variant="default" tt="none">
                  {texts.files.versioned}
                </Badge>
              )}
              {bucket.versioning !== 'off' && (
                <PlaceLink to={{ page: 'trash', bucket: bucket.name }} label={`${texts.trash.open}: ${bucket.name}`}>
                  {texts.trash.open}
                </PlaceLink>
              )}
            </Group>
          </Paper>
        ))}
      </ul>
      <SharedWithMe />
    </>
  );
}
