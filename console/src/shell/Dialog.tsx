import { CloseButton, Group, Modal } from '@mantine/core';
import type { ReactNode } from 'react';

import { useTexts } from '../texts';

interface Props {
  title: string;
  onClose: () => void;
  size?: string;
  children: ReactNode;
}

/** A dialog over the page. It keeps the focus inside, and Escape closes it. */
export function Dialog({ title, onClose, size, children }: Props) {
  const texts = useTexts();
  // Locking the page's scrolling would need an inline style, which the page's policy refuses. The page does not scroll.
  return (
    <Modal.Root opened onClose={onClose} size={size} centered lockScroll={false}>
      <Modal.Overlay />
      <Modal.Content>
        <Modal.Body>
          <Group justify="space-between" wrap="nowrap" align="flex-start" py="sm">
            <Modal.Title fw={600} className="breakable">
              {title}
            </Modal.Title>
            <CloseButton aria-label={texts.app.close} onClick={onClose} />
          </Group>
          {children}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
