// What is wrong with the cluster, how bad it is, and what to do: the same judgement as the command `lockstep status`.
import type { components } from '../api/schema';
import type { ClusterTexts } from './texts';

type Schemas = components['schemas'];
export type Cluster = Schemas['ClusterReply'];
export type FileServer = Schemas['FileServerInfo'];
export type Level = 'healthy' | 'degraded' | 'at_risk';

export interface Problem {
  level: Exclude<Level, 'healthy'>;
  kind: keyof ClusterTexts['problems'];
  /** A server's or proxy's id, a count, or the program's own words: what the text of this kind names. */
  values: (string | number)[];
}

const BACKUP_LATE_SECONDS = 60;
export const STANDBY_SILENT_SECONDS = 10;

/** Everything that is wrong, the worst first. `refusal`: why the directory did not describe the cluster. */
export function problemsOf(proxy: Schemas['Health'] | undefined, cluster: Cluster | undefined, refusal = ''): Problem[] {
  const found = [
    ...ofDirectory(cluster?.directory, refusal),
    ...(proxy ? ofProxy(proxy) : []),
    ...(cluster ? [...ofCopies(cluster), ...ofServers(cluster), ...ofProxies(cluster), ...ofServices(cluster)] : []),
  ];
  return found.toSorted((one, other) => Number(other.level === 'at_risk') - Number(one.level === 'at_risk'));
}

export function levelOf(problems: readonly Problem[]): Level {
  if (problems.some(({ level }) => level === 'at_risk')) return 'at_risk';
  return problems.length > 0 ? 'degraded' : 'healthy';
}

/** Whether a file server is draining, also while it does not answer. */
export function isLeaving({ leaving, state }: FileServer): boolean {
  return Boolean(leaving) || state === 'draining';
}

function atRisk(kind: Problem['kind'], ...values: Problem['values']): Problem {
  return { level: 'at_risk', kind, values };
}

function degraded(kind: Problem['kind'], ...values: Problem['values']): Problem {
  return { level: 'degraded', kind, values };
}

function* ofDirectory(info: Cluster['directory'] | undefined, refusal: string): Generator<Problem> {
  if (refusal) yield atRisk('directoryAway', refusal);
  if (!info) return;
  if (info.writable === false) yield atRisk('directoryCannotWrite', (info.problems ?? []).join('; '));
  else if (info.is_low) yield degraded('directoryLow', info.free_bytes ?? 0);
  for (const { url, seconds_since_seen: silent } of info.others ?? []) {
    if (silent > STANDBY_SILENT_SECONDS) yield degraded('standbySilent', url, silent);
  }
  if (info.restored_at != null) yield degraded('restored', info.restored_at);
  if ((info.backup_seconds ?? 0) > BACKUP_LATE_SECONDS) yield degraded('backupLate', info.backup_seconds ?? 0);
}

function* ofProxy({ id = '', healthy, problems = [], facts = {} }: Schemas['Health']): Generator<Problem> {
  for (const problem of problems) yield degraded('proxyReports', id, problem);
  if (!healthy && problems.length === 0) yield degraded('proxySick', id);
  if ('cache_writable' in facts && facts.cache_writable === false) yield degraded('cacheFull', id);
  if ('rate_limits_problem' in facts && facts.rate_limits_problem) {
    yield degraded('rateLimits', id, String(facts.rate_limits_problem));
  }
}

function* ofCopies({ repair, copies }: Cluster): Generator<Problem> {
  if (repair.without_living_copy) yield atRisk('lost', repair.without_living_copy);
  if (repair.under_copied) yield atRisk('underCopied', repair.under_copied, copies, repair.ordered);
}

function* ofServers({ file_servers: servers, copies }: Cluster): Generator<Problem> {
  for (const { id, state, seconds_since_heartbeat: silent, problem, refuses, free_bytes: free } of servers) {
    if (state === 'down') yield degraded('serverDown', id, silent);
    else if (state === 'suspect') yield degraded('serverSilent', id, silent);
    else if (state === 'joining') yield degraded('serverJoining', id);
    else if (problem) yield degraded('serverProblem', id, problem);
    else if (refuses) yield degraded('serverRefuses', id, refuses, free);
  }
  const taking = servers.filter(({ state, problem, refuses }) => state === 'up' && !problem && !refuses).length;
  if (taking < copies) yield degraded('tooFewServers', taking, copies);
}

function* ofProxies({ proxies = [] }: Cluster): Generator<Problem> {
  for (const { id, state, seconds_since_heartbeat: silent } of proxies) {
    if (state === 'down') yield degraded('proxyDown', id, silent ?? -1);
  }
}

function* ofServices({ recovery, targets = [], storage_keys: keys = [] }: Cluster): Generator<Problem> {
  if (recovery && !recovery.finished) yield degraded('recovery', (recovery.waiting_for ?? []).join(', '));
  else if (recovery?.unnamed_blobs) yield degraded('unnamed', recovery.unnamed_blobs);
  for (const { name, problem, waiting = 0 } of targets) if (problem) yield degraded('target', name, waiting, problem);
  for (const { id, unknown } of keys) if (unknown) yield degraded('storageKey', id);
}
