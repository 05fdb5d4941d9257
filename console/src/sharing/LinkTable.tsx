import { Badge, Button, Group, Loader, Text } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';

import { folderOf } from '../files/folders';
import { timeText } from '../files/format';
import { ConfirmDialog } from '../shell/ConfirmDialog';
import { DataRow, DataTable } from '../shell/DataTable';
import { Failed } from '../shell/Failed';
import { PlaceLink } from '../shell/PlaceLink';
import { useTexts } from '../texts';
import type { Texts } from '../texts/en';
import { listLinks, revoke, type ShareLink } from './links';

type Column = keyof Texts['links']['columns'];

const COLUMNS: Column[] = ['file', 'kind', 'by', 'made', 'until', 'uses', 'last', 'actions'];
/** For the links to one file, in a dialog. */
const COLUMNS_OF_ONE: Column[] = ['kind', 'by', 'until', 'uses', 'actions'];

interface Props {
  /** Only links into this bucket; empty: all that the account has made. */
  bucket?: string;
  /** Only links to this file or folder. */
  path?: string;
}

/** Share links, with a button to revoke each. */
export function LinkTable({ bucket = '', path }: Props) {
  const texts = useTexts();
  const cache = useQueryClient();
  const [revoking, setRevoking] = useState<ShareLink>();
  const found = useQuery({ queryKey: ['links', bucket], queryFn: ({ signal }) => listLinks(bucket, signal) });
  const shown = path === undefined ? COLUMNS : COLUMNS_OF_ONE;
  const links = (found.data ?? []).filter((link) => path === undefined || link.path === path);
  return (
    <>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {found.isPending && <Loader aria-label={texts.app.loading} />}
      {found.isSuccess && links.length === 0 && <Text>{texts.links.none}</Text>}
      {links.length > 0 && (
        <DataTable label={texts.links.title} columns={shown.map((column) => texts.links.columns[column])}>
          {links.map((link) => (
            <LinkRow key={link.id} link={link} shown={shown} onRevoke={setRevoking} />
          ))}
        </DataTable>
      )}
      {revoking && (
        <ConfirmDialog
          title={texts.links.revokeTitle}
          text={texts.links.revokeText(nameOf(revoking))}
          action={texts.links.revoke}
          run={() => revoke(revoking.id).finally(() => cache.invalidateQueries({ queryKey: ['links'] }))}
          onClose={() => setRevoking(undefined)}
        />
      )}
    </>
  );
}

function nameOf({ bucket, path }: ShareLink): string {
  return `${bucket}/${path}`;
}

interface RowProps {
  link: ShareLink;
  shown: readonly Column[];
  onRevoke: (link: ShareLink) => void;
}

function LinkRow({ link, shown, onRevoke }: RowProps) {
  const texts = useTexts();
  const folder = folderOf(link.path);
  const time = (at: number | null | undefined) => (at ? timeText(at, texts.locale) : '');
  const cells: Record<Exclude<Column, 'actions'>, ReactNode> = {
    file: <PlaceLink to={{ page: 'files', bucket: link.bucket, folder }}>{nameOf(link)}</PlaceLink>,
    kind: <Kind link={link} />,
    by: link.account,
    made: time(link.created_at),
    until: link.expires_at ? time(link.expires_at) : texts.links.never,
    uses: link.max_uses ? texts.links.usesOf(link.uses, link.max_uses) : String(link.uses),
    last: time(link.last_used_at),
  };
  return (
    <DataRow
      cells={shown.filter((column) => column !== 'actions').map((column) => cells[column])}
      actions={
        <Button
          size="compact-sm"
          color="red"
          variant="light"
          aria-label={texts.links.revokeOne(nameOf(link))}
          onClick={() => onRevoke(link)}
        >
          {texts.links.revoke}
        </Button>
      }
    />
  );
}

/** What a link allows, whether it still does, and its maker's note. */
function Kind({ link }: { link: ShareLink }) {
  const texts = useTexts();
  const badges = [texts.links.modes[link.mode], link.has_password && texts.links.hasPassword].filter(Boolean);
  return (
    <>
      <Group gap={4}>
        {badges.map((badge) => (
          <Badge key={String(badge)} variant="default" tt="none">
            {badge}
          </Badge>
        ))}
        {link.state !== 'active' && (
          <Badge color="gray" tt="none">
            {texts.links.states[link.state]}
          </Badge>
        )}
      </Group>
      {link.note && (
        <Text size="sm" fw={400} c="dimmed" className="breakable">
          {link.note}
        </Text>
      )}
    </>
  );
}
