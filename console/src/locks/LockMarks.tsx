import { Badge, Menu } from '@mantine/core';

import type { Account } from '../session/session';
import { useTexts } from '../texts';
import { useLockActions } from './actions';
import type { Lock, Locks } from './useLocks';

/** Who has locked a file, beside its name. */
export function LockBadge({ lock, account }: { lock: Lock | undefined; account: Account }) {
  const texts = useTexts();
  if (!lock) return null;
  const isMine = lock.account === account.name;
  return (
    <Badge tt="none" color={isMine ? 'blue' : 'gray'} className="lock-badge">
      {isMine ? texts.files.lockedByMe : texts.files.lockedBy(lock.account)}
    </Badge>
  );
}

interface Props {
  bucket: string;
  path: string;
  locks: Locks;
  account: Account;
}

/** What the account can do about the lock on a file. */
export function LockMenuItem({ bucket, path, locks, account }: Props) {
  const texts = useTexts();
  const { take, release, giveUp } = useLockActions();
  const lock = locks.lockOn(bucket, path);
  const place = locks.placeFor(bucket, path);
  if (lock?.account === account.name) {
    return <Menu.Item onClick={() => void release(lock)}>{texts.locks.release}</Menu.Item>;
  }
  if (place) return <Menu.Item onClick={() => void giveUp(place)}>{texts.locks.giveUp}</Menu.Item>;
  return (
    <Menu.Item onClick={() => void take(bucket, path)}>{lock ? texts.locks.wait : texts.locks.take}</Menu.Item>
  );
}
