import { defineConfig } from 'vite';

/** The pages, as files with hashed names in dist/dashboard, which the server serves. */
export default defineConfig({
  root: import.meta.dirname,
  build: {
    outDir: '../dist/dashboard',
    emptyOutDir: true,
    target: 'es2022',
    // The policy of the pages allows no data: and no inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npx vite dashboard` beside a running server: its API and its login are asked through this one, under the browser's own Host,
  // which the server compares with the origin of what changes something.
  server: {
    host: '127.0.0.1',
    proxy: {
      '^/(v1|login)': {
        target: process.env['SESSION_CHAIN_HTTP_URL'] ?? 'http://127.0.0.1:8420',
        changeOrigin: false,
      },
    },
  },
});
