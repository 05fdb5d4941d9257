import { Button, Group, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';

import { useTexts } from '../texts';
import { Dialog } from './Dialog';
import { Failed } from './Failed';

interface Props {
  title: string;
  text: string;
  /** The name of the button that does it. */
  action: string;
  run: () => Promise<unknown>;
  onClose: () => void;
}

/** Asks before something is done that is hard to undo, and says why it could not be done. */
export function ConfirmDialog({ title, text, action, run, onClose }: Props) {
  const texts = useTexts();
  const doing = useMutation({ mutationFn: run, onSuccess: onClose });
  return (
    <Dialog title={title} onClose={onClose}>
      <Text className="breakable">{text}</Text>
      <Failed error={doing.error} />
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose} data-autofocus>
          {texts.app.cancel}
        </Button>
        <Button color="red" loading={doing.isPending} onClick={() => doing.mutate()}>
          {action}
        </Button>
      </Group>
    </Dialog>
  );
}
