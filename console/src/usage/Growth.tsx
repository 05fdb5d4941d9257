import { Group, NativeSelect, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { api, data } from '../api/client';
import { sizeText } from '../files/format';
import { choices } from '../shell/choices';
import { DataRow, DataTable } from '../shell/DataTable';
import { Failed } from '../shell/Failed';
import { useTexts } from '../texts';
import { useUsageTexts } from './texts';
import { type Counted, dateText, lineOf, pointsOf, sampled } from './usage';

const WIDTH = 600;
const HEIGHT = 160;
const MOST_ROWS = 13;

/** How much there was at the end of each day: a line, its sentence, and its numbers. */
export function Growth({ bucket, counted }: { bucket: string; counted: Counted }) {
  const { locale } = useTexts();
  const own = useUsageTexts();
  const [days, setDays] = useState('90');
  const found = useQuery({
    queryKey: ['usage', 'growth', bucket, days],
    queryFn: () =>
      data(api.GET('/api/v1/analytics/growth', { params: { query: { days: Number(days), ...(bucket && { bucket }) } } })),
  });
  const points = pointsOf(found.data?.days ?? [], counted);
  const [first, last] = [points[0], points.at(-1)];
  const line = lineOf(points, WIDTH, HEIGHT);
  return (
    <section className="section">
      <Group justify="space-between" align="flex-end" mb="xs">
        <Title order={2} size="h4">
          {own.growth}
        </Title>
        <NativeSelect
          label={own.period}
          value={days}
          onChange={(event) => setDays(event.currentTarget.value)}
          data={choices(own.periods)}
        />
      </Group>
      <Failed error={found.error} onRetry={() => void found.refetch()} />
      {first && first === last && <Text size="sm">{own.begun(sizeText(first.bytes, locale))}</Text>}
      {first && last && first !== last && (
        <>
          <svg className="growth" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
            <path className="growth-area" d={`${line}V${HEIGHT}H0Z`} />
            <path className="growth-line" d={line} />
          </svg>
          <Text size="sm">
            {own.grown(
              dateText(first.day, locale),
              sizeText(first.bytes, locale),
              dateText(last.day, locale),
              sizeText(last.bytes, locale),
            )}
          </Text>
          <details>
            <summary>{own.values}</summary>
            <DataTable label={own.growth} columns={[own.day, own.size]}>
              {sampled(points, MOST_ROWS).map(({ day, bytes }) => (
                <DataRow key={day} cells={[dateText(day, locale), sizeText(bytes, locale)]} />
              ))}
            </DataTable>
          </details>
        </>
      )}
    </section>
  );
}
