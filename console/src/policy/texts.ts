// The texts of the policy's editor. They are loaded with it.
import { useLanguage } from '../texts';
import { de } from './texts.de';
import { en } from './texts.en';

export type PolicyTexts = typeof en;

export function usePolicyTexts(): PolicyTexts {
  return { en, de }[useLanguage().language];
}
