import { describe, expect, it } from 'vitest';

import { type Cluster, levelOf, problemsOf } from './problems';
import { said } from './said';
import { de } from './texts.de';
import { en } from './texts.en';

const server = (id: string, more: object = {}) => ({
  id,
  url: '',
  state: 'up' as const,
  zone: '',
  capacity_bytes: 100,
  free_bytes: 50,
  blobs: 1,
  stored_bytes: 1,
  problem: '',
  seconds_since_heartbeat: 1,
  ...more,
});
const healthy: Cluster = {
  directory_version: '0',
  started_at: 0,
  uptime_seconds: 1,
  copies: 2,
  cursor: 1,
  files: 1,
  versions: 1,
  blobs: 1,
  logical_bytes: 1,
  locks: 0,
  waiters: 0,
  file_servers: [server('1'), server('2')],
  repair: { under_copied: 0, without_living_copy: 0, ordered: 0, repaired_since_start: 0 },
  directory: {},
};
const proxy = { healthy: true, id: '1' };
const kinds = (cluster?: Partial<Cluster>, refusal = '') =>
  problemsOf(proxy, cluster && { ...healthy, ...cluster }, refusal).map(({ kind }) => kind);

describe('the cluster', () => {
  it('is healthy while nothing is wrong, also while a server is drained', () => {
    const drained = [server('1'), server('2'), server('3', { state: 'draining' })];
    expect(levelOf(problemsOf(proxy, { ...healthy, file_servers: drained }))).toBe('healthy');
  });

  it('is degraded without enough servers that take writes', () => {
    const down = { file_servers: [server('1'), server('2', { state: 'down' })] };
    expect(kinds(down)).toEqual(['serverDown', 'tooFewServers']);
    expect(levelOf(problemsOf(proxy, { ...healthy, ...down }))).toBe('degraded');
  });

  it('is at risk with too few copies, which come first', () => {
    const repair = { ...healthy.repair, under_copied: 3, without_living_copy: 1 };
    const found = problemsOf({ healthy: false, id: '1' }, { ...healthy, repair });
    expect(found.map(({ kind }) => kind)).toEqual(['lost', 'underCopied', 'proxySick']);
    expect(levelOf(found)).toBe('at_risk');
  });

  it('is at risk when the directory does not answer or cannot write', () => {
    expect(kinds(undefined, 'no reply')).toEqual(['directoryAway']);
    expect(kinds({ directory: { writable: false, problems: ['disk full'] } })).toEqual(['directoryCannotWrite']);
  });

  it('says of its directory, proxies and services what is wrong', () => {
    expect(kinds({ directory: { is_low: true, restored_at: 1, backup_seconds: 61 } })).toEqual([
      'directoryLow',
      'restored',
      'backupLate',
    ]);
    expect(kinds({ proxies: [{ id: '2', state: 'down' }, { id: '1', state: 'up' }] })).toEqual(['proxyDown']);
    expect(kinds({ storage_keys: [{ id: 'k', current: true, unknown: true }] })).toEqual(['storageKey']);
  });

  it('has words in every language for each of it', () => {
    for (const texts of [en, de]) {
      for (const kind of Object.keys(texts.problems) as (keyof typeof en.problems)[]) {
        const { problem, advice } = said({ level: 'degraded', kind, values: ['7', 2, 3] }, texts);
        expect(problem.length, kind).toBeGreaterThan(10);
        expect(`${problem}${advice}`, kind).not.toMatch(/undefined|NaN/);
      }
    }
    expect(said({ level: 'degraded', kind: 'serverDown', values: ['3', 125] }, en).problem).toBe(
      'File server 3 is down, last heard 2 minutes ago.',
    );
  });
});
