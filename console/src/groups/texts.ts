// The texts about groups. They are loaded with the pages that show any.
import { useLanguage } from '../texts';
import { de } from './texts.de';
import { en } from './texts.en';

export type GroupTexts = typeof en;

export function useGroupTexts(): GroupTexts {
  return { en, de }[useLanguage().language];
}
