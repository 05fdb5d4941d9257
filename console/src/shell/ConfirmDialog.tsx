import { Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import type { ReactNode } from 'react';

import { Dialog } from './Dialog';
import { DialogButtons } from './DialogButtons';
import { Failed } from './Failed';

interface Props {
  title: string;
  text: string;
  /** The name of the button that does it. */
  action: string;
  run: () => Promise<unknown>;
  onClose: () => void;
  /** What else to ask. */
  children?: ReactNode;
}

/** Asks before something is done that is hard to undo, and says why it could not be done. */
export function ConfirmDialog({ title, text, action, run, onClose, children }: Props) {
  const doing = useMutation({ mutationFn: run, onSuccess: onClose });
  return (
    <Dialog title={title} onClose={onClose}>
      <Text className="breakable">{text}</Text>
      {children}
      <Failed error={doing.error} />
      <DialogButtons
        action={action}
        onAction={() => doing.mutate()}
        onCancel={onClose}
        isBusy={doing.isPending}
        isDangerous
      />
    </Dialog>
  );
}
