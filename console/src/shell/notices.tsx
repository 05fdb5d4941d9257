// Short messages that come and go, read aloud by screen readers.
import { Notification } from '@mantine/core';
import { createContext, type ReactNode, useCallback, useContext, useMemo, useState } from 'react';

import { useTexts, words } from '../texts';

const SHOWN_MILLISECONDS = 6000;

interface Notice {
  id: number;
  text: string;
  isProblem: boolean;
}

interface Notices {
  say: (text: string) => void;
  /** Show a text that stays until it is closed. */
  warn: (text: string) => void;
  /** Show an error in words; it stays until it is closed. */
  complain: (error: unknown) => void;
}

const Context = createContext<Notices>({ say: () => {}, warn: () => {}, complain: () => {} });

export function useNotices(): Notices {
  return useContext(Context);
}

let nextId = 1;

export function NoticesProvider({ children }: { children: ReactNode }) {
  const texts = useTexts();
  const [notices, setNotices] = useState<Notice[]>([]);
  const close = useCallback((id: number) => setNotices((now) => now.filter((one) => one.id !== id)), []);
  const show = useCallback(
    (text: string, isProblem: boolean) => {
      const id = nextId++;
      setNotices((now) => [...now.slice(-4), { id, text, isProblem }]);
      if (!isProblem) setTimeout(() => close(id), SHOWN_MILLISECONDS);
    },
    [close],
  );
  const value = useMemo(
    () => ({
      say: (text: string) => show(text, false),
      warn: (text: string) => show(text, true),
      complain: (error: unknown) => show(words(error, texts), true),
    }),
    [show, texts],
  );
  return (
    <Context value={value}>
      {children}
      <div className="notices" role="log" aria-live="polite">
        {notices.map(({ id, text, isProblem }) => (
          <Notification
            key={id}
            role={isProblem ? 'alert' : undefined}
            color={isProblem ? 'red' : 'blue'}
            withBorder
            onClose={() => close(id)}
            closeButtonProps={{ 'aria-label': texts.app.close }}
          >
            {text}
          </Notification>
        ))}
      </div>
    </Context>
  );
}
