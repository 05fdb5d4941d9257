// Who uses the page. The token itself is in a cookie that this page cannot read.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect } from 'react';

import { api, data, whenSignedOut } from '../api/client';
import { Failure } from '../api/failure';

/** With this header, a log-in's token arrives as the session's cookie and not in the reply. */
export const BEGIN = { headers: { 'X-Lockstep-Session': 'begin' } };
export const CLIENT = 'web console';

export interface Account {
  name: string;
  /** An administrator of the cluster. */
  admin: boolean;
  /** An administrator, of the cluster or of the tenant. */
  administers: boolean;
  /** Empty: the account belongs to the cluster itself. */
  tenant: string;
  readOnly: boolean;
}

const KEY = ['account'];

/** The account; null if nobody is signed in, undefined while that is not known. */
export function useSession() {
  const cache = useQueryClient();
  const found = useQuery({ queryKey: KEY, queryFn: whoAmI, staleTime: Infinity, retry: true, retryDelay: 2000 });
  const refresh = useCallback(() => cache.invalidateQueries({ queryKey: KEY }), [cache]);
  useEffect(() => {
    whenSignedOut(() => {
      if (cache.getQueryData(KEY)) cache.setQueryData(KEY, null);
    });
  }, [cache]);
  return { account: found.data, unreachable: found.failureCount > 0 && found.data === undefined, refresh };
}

/** End the session, and load the page anew: nothing of this account stays in the tab. */
export async function signOut(): Promise<void> {
  await api.POST('/api/v1/auth/logout').catch(() => undefined);
  window.location.assign('/console/');
}

async function whoAmI(): Promise<Account | null> {
  try {
    const info = await data(api.GET('/api/v1/auth/me'));
    return {
      name: info.name,
      admin: info.admin,
      administers: info.admin || (info.tenant_admin ?? false),
      tenant: info.tenant ?? '',
      readOnly: info.read_only ?? false,
    };
  } catch (error) {
    if (error instanceof Failure && error.problem.status === 401) return null;
    throw error;
  }
}
