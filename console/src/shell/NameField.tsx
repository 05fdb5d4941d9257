import { TextInput, type TextInputProps } from '@mantine/core';

interface Props extends Omit<TextInputProps, 'value' | 'onChange'> {
  value: string;
  onChange: (value: string) => void;
}

/** A field for an exact name, such as an account's or a folder's: the browser neither corrects nor remembers it. */
export function NameField({ onChange, ...more }: Props) {
  return (
    <TextInput
      onChange={(event) => onChange(event.currentTarget.value)}
      autoCapitalize="none"
      autoComplete="off"
      spellCheck={false}
      required
      withAsterisk={false}
      {...more}
    />
  );
}
