import { Menu } from '@mantine/core';

import { fileAddress } from '../api/client';
import { mayBeText } from '../edit/text';
import { LockMenuItem } from '../locks/LockMarks';
import type { Locks } from '../locks/useLocks';
import { goTo } from '../router';
import type { Account } from '../session/session';
import { useTexts } from '../texts';
import { archiveAddress, nameInAddress } from './archives';
import type { Entry } from './entries';
import { usePacking } from './PackButton';

export type Question = 'delete' | 'facts' | 'versions' | 'rename';

interface Props {
  account: Account;
  bucket: string;
  folder: string;
  entry: Entry;
  locks: Locks;
  onShare: () => void;
  ask: (question: Question) => void;
}

/** The items of the menu of a file or folder. */
export function EntryMenu({ account, bucket, folder, entry, locks, onShare, ask }: Props) {
  const texts = useTexts();
  const packing = usePacking();
  const canWrite = !account.readOnly;
  const remove = canWrite && (
    <Menu.Item className="danger" onClick={() => ask('delete')}>
      {texts.files.remove}
    </Menu.Item>
  );
  if (entry.kind === 'folder') {
    const address = archiveAddress(bucket, folder, [nameInAddress(entry)]);
    return (
      <>
        {address && <Menu.Item onClick={() => packing.mutate(address)}>{texts.archives.one}</Menu.Item>}
        <Menu.Item onClick={onShare}>{texts.sharing.share}</Menu.Item>
        {canWrite && <Menu.Item onClick={() => ask('rename')}>{texts.folders.rename}</Menu.Item>}
        {remove}
      </>
    );
  }
  return (
    <>
      {entry.readable && (
        <Menu.Item component="a" href={fileAddress(bucket, entry.path)} download={entry.name}>
          {texts.files.download}
        </Menu.Item>
      )}
      {canWrite && entry.readable && mayBeText(entry.name, entry.size) && (
        <Menu.Item onClick={() => goTo({ page: 'edit', bucket, path: entry.path })}>{texts.edit.edit}</Menu.Item>
      )}
      <Menu.Item onClick={() => ask('facts')}>{texts.facts.open}</Menu.Item>
      <Menu.Item onClick={() => ask('versions')}>{texts.files.versions}</Menu.Item>
      <Menu.Item onClick={onShare}>{texts.sharing.share}</Menu.Item>
      {canWrite && <LockMenuItem bucket={bucket} path={entry.path} locks={locks} account={account} />}
      {remove}
    </>
  );
}
