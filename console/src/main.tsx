import '@mantine/core/styles.css';
import './app.css';

import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { mayRepeat } from './api/failure';
import { App } from './App';
import { NoticesProvider } from './shell/notices';
import { TextsProvider } from './texts';

const queries = new QueryClient({
  defaultOptions: {
    queries: { retry: (count, error) => count < 2 && mayRepeat(error), refetchOnWindowFocus: true, staleTime: 2000 },
  },
});

const THEME = { respectReducedMotion: true };

// The page's policy allows no inline style, so the variables come from the style sheet.
createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <MantineProvider defaultColorScheme="auto" theme={THEME} withCssVariables={false} withGlobalClasses={false}>
      <TextsProvider>
        <QueryClientProvider client={queries}>
          <NoticesProvider>
            <App />
          </NoticesProvider>
        </QueryClientProvider>
      </TextsProvider>
    </MantineProvider>
  </StrictMode>,
);
