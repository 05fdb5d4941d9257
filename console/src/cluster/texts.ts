// The texts of the pages for administrators. They are loaded with these pages.
import { useLanguage } from '../texts';
import { de } from './texts.de';
import { en } from './texts.en';

export type ClusterTexts = typeof en;

export function useClusterTexts(): ClusterTexts {
  return { en, de }[useLanguage().language];
}
