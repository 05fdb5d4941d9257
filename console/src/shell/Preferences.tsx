import { ActionIcon, Group, NativeSelect, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';

import { type Language, LANGUAGES, useLanguage, useTexts } from '../texts';
import { MoonIcon, SunIcon } from './icons';

/** The language and the colours. */
export function Preferences() {
  const texts = useTexts();
  const { language, choose } = useLanguage();
  const { setColorScheme } = useMantineColorScheme();
  const isDark = useComputedColorScheme('light') === 'dark';
  const toggled = isDark ? texts.app.light : texts.app.dark;
  return (
    <Group gap="xs" wrap="nowrap" className="preferences">
      <NativeSelect
        size="xs"
        aria-label={texts.app.language}
        value={language}
        onChange={(event) => choose(event.currentTarget.value as Language)}
        data={Object.entries(LANGUAGES).map(([value, { name }]) => ({ value, label: name }))}
      />
      <ActionIcon
        variant="default"
        size={30}
        aria-label={toggled}
        title={toggled}
        onClick={() => setColorScheme(isDark ? 'light' : 'dark')}
      >
        {isDark ? <SunIcon /> : <MoonIcon />}
      </ActionIcon>
    </Group>
  );
}
