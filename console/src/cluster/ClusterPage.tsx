import { Alert, Loader, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';

import { api, data } from '../api/client';
import { Failure } from '../api/failure';
import { sizeText } from '../files/format';
import { FactList } from '../shell/FactList';
import { Failed } from '../shell/Failed';
import { PageHead } from '../shell/PageHead';
import { useTexts, words } from '../texts';
import { Backup, Check } from './Maintenance';
import { type Cluster, levelOf, type Problem, problemsOf, STANDBY_SILENT_SECONDS } from './problems';
import { Certificates, Proxies } from './Programs';
import { Repair } from './Repair';
import { said } from './said';
import { Servers } from './Servers';
import { useClusterTexts } from './texts';

const LIVE_MILLISECONDS = 3000;

/** How the cluster is, and what to do about each problem: for administrators. */
export function ClusterPage() {
  const texts = useTexts();
  const own = useClusterTexts();
  const cluster = useQuery({
    queryKey: ['cluster'],
    queryFn: ({ signal }) => data(api.GET('/api/v1/cluster', { signal })),
    refetchInterval: LIVE_MILLISECONDS,
  });
  const proxy = useQuery({
    queryKey: ['health'],
    queryFn: ({ signal }) => data(api.GET('/api/v1/health', { signal })),
    refetchInterval: LIVE_MILLISECONDS,
  });
  const isRefused = cluster.error instanceof Failure && cluster.error.problem.status >= 500;
  const found = cluster.data;
  // What was known before the directory went away is not how the cluster is.
  const current = cluster.isError ? undefined : found;
  const problems = problemsOf(proxy.data, current, isRefused ? words(cluster.error, texts) : '');
  return (
    <div className="scrolled">
      <PageHead title={own.title} />
      {(current || isRefused) && <State problems={problems} />}
      {!isRefused && <Failed error={cluster.error} onRetry={() => void cluster.refetch()} />}
      {cluster.isPending && <Loader aria-label={texts.app.loading} />}
      {found && (
        <>
          <Numbers cluster={found} />
          <Section title={own.servers}>
            <Servers servers={found.file_servers} />
          </Section>
          <Section title={own.repair}>
            <Repair repair={found.repair} />
          </Section>
          <Section title={own.proxies}>
            <Proxies proxies={found.proxies ?? []} />
          </Section>
          <Section title={own.check}>
            <Check />
          </Section>
          <Section title={own.backup}>
            <Backup directory={found.directory} />
          </Section>
          <Section title={own.certificates}>
            <Certificates authorities={found.authorities ?? []} keys={found.storage_keys ?? []} />
          </Section>
        </>
      )}
    </div>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="section">
      <Title order={2} size="h4" mb="xs">
        {title}
      </Title>
      {children}
    </section>
  );
}

const COLOURS = { healthy: 'green', degraded: 'yellow', at_risk: 'red' };

function State({ problems }: { problems: Problem[] }) {
  const own = useClusterTexts();
  const level = levelOf(problems);
  return (
    <Alert color={COLOURS[level]} role="status" title={own.levels[level]} mb="sm" className="cluster-state">
      {own.levelTexts[level]}
      <ul className="problems">
        {problems.map((problem) => {
          const { problem: sentence, advice } = said(problem, own);
          return (
            <li key={`${problem.kind} ${problem.values[0]}`}>
              {sentence} <strong>{own.whatToDo}</strong> {advice}
            </li>
          );
        })}
      </ul>
    </Alert>
  );
}

function Numbers({ cluster }: { cluster: Cluster }) {
  const { locale } = useTexts();
  const own = useClusterTexts();
  const number = new Intl.NumberFormat(locale);
  const { directory } = cluster;
  const facts: [string, string][] = [
    [own.facts.files, number.format(cluster.files)],
    [own.facts.versions, number.format(cluster.versions)],
    [own.facts.bytes, sizeText(cluster.logical_bytes, locale)],
    [own.facts.copies, number.format(cluster.copies)],
    [own.facts.locks, number.format(cluster.locks)],
    [own.facts.uptime, own.lasts(cluster.uptime_seconds)],
    [own.facts.version, cluster.directory_version],
  ];
  if (directory?.free_bytes != null && directory.capacity_bytes != null) {
    facts.push([own.facts.disk, own.free(sizeText(directory.free_bytes, locale), sizeText(directory.capacity_bytes, locale))]);
  }
  const standbys = (directory?.others ?? []).filter((one) => one.seconds_since_seen <= STANDBY_SILENT_SECONDS);
  if (standbys.length > 0) facts.push([own.facts.standbys, standbys.map((one) => one.url).join(', ')]);
  return <FactList facts={facts} />;
}
