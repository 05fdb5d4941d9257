import { Anchor, Badge, Paper, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';

import { api, data, fileAddress } from '../api/client';
import { FileIcon, FolderIcon } from '../shell/icons';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts } from '../texts';
import { folderOf } from './folders';

/** What others have granted to the account by name. Not there without any. */
export function SharedWithMe() {
  const texts = useTexts();
  const found = useQuery({ queryKey: ['shared-with-me'], queryFn: () => data(api.GET('/api/v1/shared-with-me')) });
  const items = found.data?.items ?? [];
  if (items.length === 0) return null;
  return (
    <>
      <Title order={2} size="h4" mt="lg" mb="sm">
        {texts.sharing.withMe}
      </Title>
      <ul className="buckets" aria-label={texts.sharing.withMe}>
        {items.map(({ bucket, path, owner, level }) => {
          const folder = folderOf(path);
          return (
            <Paper component="li" key={`${bucket}/${path}`} withBorder p="sm" className="bucket">
              {folder === path ? <FolderIcon /> : <FileIcon />}
              {folder === path ? (
                <PlaceLink to={{ page: 'files', bucket, folder }} className="breakable">{`${bucket}/${path}`}</PlaceLink>
              ) : (
                // Who may read one file may not list its folder.
                <Anchor href={fileAddress(bucket, path)} download className="breakable">
                  {`${bucket}/${path}`}
                </Anchor>
              )}
              <Badge variant="default" tt="none" ml="auto">
                {texts.sharing.from(owner, texts.sharing.levels[level])}
              </Badge>
            </Paper>
          );
        })}
      </ul>
    </>
  );
}
