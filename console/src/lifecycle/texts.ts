// The texts about lifecycle rules. They are loaded with their dialog.
import { useLanguage } from '../texts';
import { de } from './texts.de';
import { en } from './texts.en';

export type LifecycleTexts = typeof en;

export function useLifecycleTexts(): LifecycleTexts {
  return { en, de }[useLanguage().language];
}
