import { Title } from '@mantine/core';

import { sizeText } from '../files/format';
import { DataRow, DataTable } from '../shell/DataTable';
import { useTexts } from '../texts';
import { useUsageTexts } from './texts';
import type { Bar, Counted } from './usage';

interface Props {
  title: string;
  /** What a bar's name is, such as "Bucket". */
  heading: string;
  bars: readonly Bar[];
  counted: Counted;
  /** The name to show of a bar. */
  nameOf: (name: string) => string;
  /** The name of the last bar, if it is all the others. */
  others: string;
}

/** A bar chart that is a table: its numbers are there for everybody, and the bars for those who see them. */
export function Bars({ title, heading, bars, counted, nameOf, others }: Props) {
  const { locale } = useTexts();
  const own = useUsageTexts();
  const number = new Intl.NumberFormat(locale);
  if (bars.length === 0) return null;
  return (
    <section className="section">
      <Title order={2} size="h4" mb="xs">
        {title}
      </Title>
      <DataTable label={title} columns={[heading, own.facts[counted], own.size]}>
        {bars.map(({ name, count, bytes, share }) => (
          <DataRow
            key={name === undefined ? 'others' : `:${name}`}
            cells={[
              name === undefined ? others : nameOf(name),
              number.format(count),
              <span key="bar" className="bar-cell">
                <span className="bar-size">{sizeText(bytes, locale)}</span>
                <svg className="bar-line" aria-hidden="true">
                  <rect width={`${Math.max(share * 100, 0.5)}%`} height="100%" rx="2" />
                </svg>
              </span>,
            ]}
          />
        ))}
      </DataTable>
    </section>
  );
}
