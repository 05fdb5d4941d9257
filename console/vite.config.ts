import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const proxy = process.env.LOCKSTEP_URL ?? 'https://127.0.0.1:5000';

export default defineConfig({
  base: '/console/',
  plugins: [react()],
  build: {
    // The page's policy allows no data: addresses and no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
  // The proxy serves files of this name with a policy of their own (client_proxy/doors/console/door.py).
  worker: { format: 'es', rolldownOptions: { output: { entryFileNames: 'assets/worker-[hash].js' } } },
  server: { proxy: { '/api': { target: proxy, secure: false } } },
});
