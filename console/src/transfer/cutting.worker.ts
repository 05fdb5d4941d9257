import type { Manifest } from './manifest';
import { manifestOf } from './cutting';

export type Told = { done: number } | { manifest: Manifest } | { unreadable: true };

const tell = (told: Told) => self.postMessage(told);

self.onmessage = ({ data }: MessageEvent<Blob>) => {
  manifestOf(data, (done) => tell({ done })).then(
    (manifest) => tell({ manifest }),
    () => tell({ unreadable: true }),
  );
};
