// What is stored, prepared for charts. No I/O.
import type { components } from '../api/schema';

export type Amount = components['schemas']['NamedAmount'];
/** What is counted: the current files, or all versions. */
export type Counted = 'versions' | 'files';

export interface Bar {
  /** Undefined: all the others together. */
  name: string | undefined;
  count: number;
  bytes: number;
  /** Of the longest bar, from 0 to 1. */
  share: number;
}

export interface Point {
  day: string;
  bytes: number;
}

export function bytesOf(amount: Pick<Amount, 'version_bytes' | 'file_bytes'>, counted: Counted): number {
  return counted === 'versions' ? amount.version_bytes : amount.file_bytes;
}

function countOf(amount: Amount, counted: Counted): number {
  return counted === 'versions' ? amount.versions : amount.files;
}

/** The largest `most` of the amounts as bars, and the others as one. */
export function largest(amounts: readonly Amount[], counted: Counted, most: number): Bar[] {
  return barsOf(amounts.toSorted((one, other) => bytesOf(other, counted) - bytesOf(one, counted)), counted, most);
}

/** The months as bars, the newest first; those before the newest `most` as one. */
export function byAge(months: readonly Amount[], counted: Counted, most: number): Bar[] {
  return barsOf(months.toReversed(), counted, most);
}

function barsOf(amounts: readonly Amount[], counted: Counted, most: number): Bar[] {
  const bars = amounts
    .map((one): Bar => ({ name: one.name, count: countOf(one, counted), bytes: bytesOf(one, counted), share: 0 }))
    .filter(({ count }) => count > 0);
  const others = bars.splice(most);
  if (others.length > 0) {
    const [count, bytes] = [others.reduce((sum, one) => sum + one.count, 0), others.reduce((sum, one) => sum + one.bytes, 0)];
    bars.push({ name: undefined, count, bytes, share: 0 });
  }
  const longest = Math.max(1, ...bars.map(({ bytes }) => bytes));
  return bars.map((bar) => ({ ...bar, share: bar.bytes / longest }));
}

export function pointsOf(days: readonly Amount[], counted: Counted): Point[] {
  return days.map((one) => ({ day: one.name, bytes: bytesOf(one, counted) }));
}

/** The line through the points in a field of `width` by `height`, which begins at zero bytes. For `d` of an SVG path. */
export function lineOf(points: readonly Point[], width: number, height: number): string {
  const top = Math.max(1, ...points.map(({ bytes }) => bytes));
  const step = width / Math.max(1, points.length - 1);
  const at = points.map(({ bytes }, index) => `${round(index * step)},${round(height - (bytes / top) * height)}`);
  return at.length === 1 ? `M${at[0]}H${width}` : `M${at.join('L')}`;
}

/** At most `most` of the points, evenly spread, with the first and the last. */
export function sampled(points: readonly Point[], most: number): Point[] {
  if (points.length <= most) return [...points];
  const step = (points.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, index) => points[Math.round(index * step)] as Point);
}

/** A month such as `2026-03` or a day such as `2026-03-09` in words. */
export function dateText(name: string, locale: string): string {
  const [year = 0, month = 1, day] = name.split('-').map(Number);
  const options: Intl.DateTimeFormatOptions = { year: 'numeric', month: day ? 'short' : 'long', timeZone: 'UTC' };
  return new Intl.DateTimeFormat(locale, { ...options, ...(day && { day: 'numeric' }) }).format(Date.UTC(year, month - 1, day ?? 1));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
