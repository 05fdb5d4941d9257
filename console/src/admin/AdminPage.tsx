import { GroupList } from '../groups/GroupList';
import { ADMIN_PARTS, type AdminPart } from '../router';
import type { Account } from '../session/session';
import { PageHead } from '../shell/PageHead';
import { PlaceLink } from '../shell/PlaceLink';
import { AccountList } from './AccountList';
import { AuditList } from './AuditList';
import { OwnTenant } from './OwnTenant';
import { TenantList } from './TenantList';
import { useAdminTexts } from './texts';

/** What administrators look after: accounts, groups, tenants, and what has happened. */
export function AdminPage({ account, part }: { account: Account; part: AdminPart }) {
  const own = useAdminTexts();
  const parts = ADMIN_PARTS.filter((one) => one !== 'tenants' || account.admin);
  const shown = parts.includes(part) ? part : 'accounts';
  return (
    <div className="scrolled">
      <PageHead title={own.parts[shown]}>
        <nav aria-label={own.title} className="parts">
          {parts.map((one) => (
            <PlaceLink
              key={one}
              to={{ page: 'admin', part: one }}
              className="page-link"
              aria-current={one === shown ? 'page' : undefined}
            >
              {own.parts[one]}
            </PlaceLink>
          ))}
        </nav>
      </PageHead>
      {shown === 'accounts' && account.tenant && <OwnTenant name={account.tenant} />}
      {shown === 'accounts' && <AccountList account={account} />}
      {shown === 'groups' && <GroupList account={account} />}
      {shown === 'tenants' && <TenantList />}
      {shown === 'audit' && <AuditList />}
    </div>
  );
}
