// Where content is cut into chunks: FastCDC, exactly as the cluster cuts (lockstep_store/wire/chunking.py).
import format from './chunking.json';

export const LARGEST_CHUNK = format.largest;

const TABLE = Int32Array.from(format.table);
// Up to the centre the mask is wider, so that a cut is rarer, and after it narrower.
const CENTRE = format.average - (format.smallest + format.smallest / 2);
const BITS = Math.round(Math.log2(format.average));
const MASK_BEFORE = 2 ** (BITS + 1) - 1;
const MASK_AFTER = 2 ** (BITS - 1) - 1;

/** The length of the chunk that `data` begins with. `data` has LARGEST_CHUNK bytes, or the file ends with it. */
export function cutLength(data: Uint8Array): number {
  const size = data.length;
  let index = Math.min(format.smallest, size);
  let pattern = 0;
  for (const [end, mask] of [[CENTRE, MASK_BEFORE], [format.largest, MASK_AFTER]] as const) {
    const barrier = Math.min(end, size);
    for (; index < barrier; index++) {
      pattern = ((pattern >>> 1) + TABLE[data[index]!]!) | 0;
      if ((pattern & mask) === 0) return index + 1;
    }
  }
  return index;
}
