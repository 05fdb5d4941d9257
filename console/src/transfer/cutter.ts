// The page's side of the worker that cuts and hashes: the page stays quick, and loads the worker's code when it is needed.
import { failure } from '../api/failure';
import type { Told } from './cutting.worker';
import type { Manifest } from './manifest';

/** The file's manifest. `report` gets the share done, 0 to 1. Throws a Failure if the file cannot be read. */
export function cut(file: File, report: (share: number) => void, signal: AbortSignal): Promise<Manifest> {
  const worker = new Worker(new URL('./cutting.worker.ts', import.meta.url), { type: 'module' });
  return new Promise<Manifest>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Told>) => {
      if ('done' in data) report(data.done / file.size);
      else if ('manifest' in data) resolve(data.manifest);
      else reject(fileChanged());
    };
    // The worker's own code could not be loaded.
    worker.onerror = () => reject(failure(0, undefined));
    signal.addEventListener('abort', () => reject(failure(0, undefined)));
    worker.postMessage(file);
  }).finally(() => worker.terminate());
}

/** The file on the person's disk is no longer the one that was chosen: browsers then refuse to read it. */
export function fileChanged() {
  return failure(400, { code: 'file_changed' });
}
