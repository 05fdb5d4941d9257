import { Button, CloseButton, Group } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';

import { Failure } from '../api/failure';
import { useNotices } from '../shell/notices';
import { useTexts } from '../texts';
import { archiveAddress, download, nameInAddress } from './archives';
import type { Entry } from './entries';

interface Props {
  bucket: string;
  folder: string;
  chosen: readonly Entry[];
  /** Every entry is chosen: the whole folder has a shorter address. */
  isAll: boolean;
  onClear: () => void;
}

/** Downloads what is chosen, or else the whole folder, as one zip file. */
export function PackButton({ bucket, folder, chosen, isAll, onClear }: Props) {
  const texts = useTexts();
  const { say } = useNotices();
  const packing = usePacking();
  function pack() {
    const address = archiveAddress(bucket, folder, isAll ? [] : chosen.map(nameInAddress));
    if (address) packing.mutate(address);
    else say(texts.archives.tooMany);
  }
  const whole = folder ? texts.archives.folder : texts.archives.bucket;
  return (
    <Group gap={4} wrap="nowrap">
      <Button size="compact-sm" variant={chosen.length > 0 ? 'filled' : 'default'} loading={packing.isPending} onClick={pack}>
        {chosen.length > 0 ? texts.archives.chosen(chosen.length) : whole}
      </Button>
      {chosen.length > 0 && <CloseButton size="sm" aria-label={texts.archives.clear} onClick={onClear} />}
    </Group>
  );
}

/** Has the browser download a zip file, and says why it cannot. */
export function usePacking() {
  const texts = useTexts();
  const { say, complain } = useNotices();
  return useMutation({
    mutationFn: download,
    onError: (error) => {
      if (error instanceof Failure && error.problem.code === 'too_large') say(texts.archives.tooMany);
      else complain(error);
    },
  });
}
