import type { Account } from '../session/session';
import { usePlace } from '../router';
import { BucketList } from './BucketList';
import { FolderPage } from './FolderPage';

/** All buckets, or one folder of one bucket. */
export function FilesPage({ account }: { account: Account }) {
  const place = usePlace();
  if (place.page !== 'files' || !place.bucket) return <BucketList account={account} />;
  return <FolderPage key={`${place.bucket}/${place.folder}`} account={account} {...place} />;
}
