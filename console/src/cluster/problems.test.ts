import { describe, expect, it } from 'vitest';

import { type Cluster, type Level, levelOf, problemsOf } from './problems';
import table from './problems.cases.json';
import { said } from './said';
import { de } from './texts.de';
import { en } from './texts.en';

type Server = Cluster['file_servers'][number];
interface Case {
  name: string;
  /** What differs from the healthy cluster. Null: the directory did not describe the cluster. */
  cluster?: Partial<Cluster> | null;
  proxy?: object;
  refusal?: string;
  problems: { level: Level; kind: string }[];
}

function clusterOf({ cluster }: Case): Cluster | undefined {
  if (cluster === null) return undefined;
  const all = { ...table.healthy, ...cluster };
  return {
    ...all,
    repair: { ...table.healthy.repair, ...cluster?.repair },
    file_servers: all.file_servers.map((one) => ({ ...table.server, ...one }) as Server),
  };
}

const cases = table.cases as Case[];

describe('the cluster', () => {
  it.each(cases)('has the problems that “lockstep status” finds: $name', (one) => {
    const found = problemsOf({ ...table.proxy, ...one.proxy }, clusterOf(one), one.refusal);
    expect(found.map(({ level, kind }) => ({ level, kind }))).toEqual(one.problems.map(({ level, kind }) => ({ level, kind })));
    expect(levelOf(found)).toBe(one.problems[0]?.level ?? 'healthy');
  });

  it('has a case for each kind of problem', () => {
    const kinds = new Set(cases.flatMap(({ problems }) => problems.map(({ kind }) => kind)));
    expect([...kinds].sort()).toEqual(Object.keys(en.problems).sort());
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
    expect(said({ level: 'degraded', kind: 'serverDown', values: ['3', 200_000] }, de).problem).toBe(
      'Dateiserver 3 läuft nicht, zuletzt gehört vor 2 Tagen.',
    );
  });
});
