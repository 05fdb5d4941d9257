// The texts of the administration. They are loaded with it.
import { useLanguage } from '../texts';
import { de } from './texts.de';
import { en } from './texts.en';

export type AdminTexts = typeof en;

export function useAdminTexts(): AdminTexts {
  return { en, de }[useLanguage().language];
}
