import type { Problem } from './problems';
import type { ClusterTexts } from './texts';

export interface Said {
  problem: string;
  advice: string;
}

/** A problem in words, and what to do about it. */
export function said({ kind, values }: Problem, texts: ClusterTexts): Said {
  const words = texts.problems[kind] as (...values: (string | number)[]) => [string, string];
  const [problem, advice] = words(...values);
  return { problem, advice };
}
