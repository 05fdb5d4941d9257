import type { Place } from '../router';
import type { Account } from '../session/session';
import { PageHead } from '../shell/PageHead';
import { PlaceLink } from '../shell/PlaceLink';
import { AccountList } from './AccountList';
import { AuditList } from './AuditList';
import { useAdminTexts } from './texts';

type AdminPart = Extract<Place, { page: 'admin' }>['part'];

const PARTS: AdminPart[] = ['accounts', 'audit'];

/** What administrators look after: accounts, and what has happened. */
export function AdminPage({ account, part }: { account: Account; part: AdminPart }) {
  const own = useAdminTexts();
  return (
    <div className="scrolled">
      <PageHead title={own.parts[part]}>
        <nav aria-label={own.title} className="parts">
          {PARTS.map((one) => (
            <PlaceLink
              key={one}
              to={{ page: 'admin', part: one }}
              className="page-link"
              aria-current={one === part ? 'page' : undefined}
            >
              {own.parts[one]}
            </PlaceLink>
          ))}
        </nav>
      </PageHead>
      {part === 'accounts' ? <AccountList account={account} /> : <AuditList />}
    </div>
  );
}
