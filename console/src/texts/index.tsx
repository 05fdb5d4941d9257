// The language: the browser's, unless the person has chosen one on this page.
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from 'react';

import { Failure } from '../api/failure';
import { de } from './de';
import { en, type Texts } from './en';

export const LANGUAGES = { en, de };
export type Language = keyof typeof LANGUAGES;

const STORED = 'lockstep-language';

interface Choice {
  language: Language;
  choose: (language: Language) => void;
}

const Chosen = createContext<Choice>({ language: 'en', choose: () => {} });

/** The first of `wanted` that there are texts in; English otherwise. */
export function bestLanguage(wanted: readonly string[]): Language {
  const known = wanted.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in LANGUAGES);
  return (known as Language | undefined) ?? 'en';
}

export function TextsProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(() =>
    bestLanguage([localStorage.getItem(STORED) ?? '', ...navigator.languages]),
  );
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const choice = useMemo(
    () => ({
      language,
      choose: (chosen: Language) => {
        localStorage.setItem(STORED, chosen);
        setLanguage(chosen);
      },
    }),
    [language],
  );
  return <Chosen value={choice}>{children}</Chosen>;
}

export function useLanguage(): Choice {
  return useContext(Chosen);
}

export function useTexts(): Texts {
  return LANGUAGES[useContext(Chosen).language];
}

/** An error in words for the person. The API's own sentence is the most exact one, but it is English. */
export function words(error: unknown, texts: Texts): string {
  if (!(error instanceof Failure)) return texts.problems.unknown;
  const { code, detail, holder, status } = error.problem;
  const known: Record<string, string> = {
    unreachable: texts.problems.unreachable,
    locked: texts.problems.locked(holder ?? '?'),
    lock_stale: texts.problems.lockStale,
    quota_exceeded: texts.problems.quota,
    rate_limited: texts.problems.rateLimited,
    overloaded: texts.problems.overloaded,
    file_changed: texts.problems.fileChanged,
  };
  if (code in known) return known[code] as string;
  if (detail && texts.locale.startsWith('en')) return detail.charAt(0).toUpperCase() + detail.slice(1);
  const byStatus: Record<number, string> = { 403: texts.problems.forbidden, 404: texts.problems.notFound };
  return byStatus[status] ?? (detail ? `${texts.problems.unknown} (${detail})` : texts.problems.unknown);
}
