import { Button, Group } from '@mantine/core';
import type { ReactNode } from 'react';

import { useTexts } from '../texts';

interface Props {
  /** The name of the button that does it. */
  action: string;
  /** Without it, the button submits the form around it. */
  onAction?: () => void;
  onCancel: () => void;
  isBusy: boolean;
  isDisabled?: boolean;
  /** Hard to undo: the button is red, and Cancel has the focus. */
  isDangerous?: boolean;
}

/** The last line of a dialog: a button to leave it, and one to do what it asks about. */
export function DialogButtons({ action, onAction, onCancel, isBusy, isDisabled = false, isDangerous = false }: Props) {
  const texts = useTexts();
  return (
    <Group justify="flex-end" mt="lg">
      <Button variant="default" onClick={onCancel} data-autofocus={isDangerous || undefined}>
        {texts.app.cancel}
      </Button>
      <Button
        type={onAction ? 'button' : 'submit'}
        color={isDangerous ? 'red' : undefined}
        disabled={isDisabled}
        loading={isBusy}
        onClick={onAction}
      >
        {action}
      </Button>
    </Group>
  );
}

/** The last line of a dialog with nothing left to ask. `children` stand at its other end. */
export function CloseDialogButton({ onClose, children }: { onClose: () => void; children?: ReactNode }) {
  const texts = useTexts();
  return (
    <Group justify={children ? 'space-between' : 'flex-end'} mt="lg">
      {children}
      <Button onClick={onClose} data-autofocus>
        {texts.app.close}
      </Button>
    </Group>
  );
}
