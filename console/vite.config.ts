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
  server: { proxy: { '/api': { target: proxy, secure: false } } },
});
