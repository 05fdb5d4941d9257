// The texts about what is stored. They are loaded with their page.
import { useLanguage } from '../texts';
import { de } from './texts.de';
import { en } from './texts.en';

export type UsageTexts = typeof en;

export function useUsageTexts(): UsageTexts {
  return { en, de }[useLanguage().language];
}
