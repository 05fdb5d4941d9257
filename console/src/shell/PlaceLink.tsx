import { Anchor } from '@mantine/core';
import type { MouseEvent, ReactNode } from 'react';

import { addressOf, goTo, type Place } from '../router';

interface Props {
  to: Place;
  children: ReactNode;
  className?: string;
  /** What screen readers say, where the text alone says too little. */
  label?: string;
  'aria-current'?: 'page';
}

/** A link within the page. Other clicks than a plain one are the browser's: a new tab, a new window. */
export function PlaceLink({ to, label, children, ...more }: Props) {
  function follow(event: MouseEvent) {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    goTo(to);
  }
  return (
    <Anchor href={addressOf(to)} onClick={follow} aria-label={label} {...more}>
      {children}
    </Anchor>
  );
}
