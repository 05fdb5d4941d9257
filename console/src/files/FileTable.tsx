import { useVirtualizer } from '@tanstack/react-virtual';
import { type KeyboardEvent, type MouseEvent, type ReactNode, useEffect, useRef } from 'react';

import { fileAddress } from '../api/client';
import { FileIcon, FolderIcon } from '../shell/icons';
import { PlaceLink } from '../shell/PlaceLink';
import { RowMenu } from '../shell/RowMenu';
import { useTexts } from '../texts';
import { isPackable } from './archives';
import { type Column, type Entry, nextOrder, type Order } from './entries';
import { sizeText, timeText } from './format';

const ROW_PIXELS = 44;
const COLUMNS: Column[] = ['name', 'size', 'changed', 'author'];

interface Props {
  bucket: string;
  entries: Entry[];
  order: Order;
  onOrder: (order: Order) => void;
  /** Called when the last rows come into view. */
  onEnd: () => void;
  onDelete: (entry: Entry) => void;
  /** What stands beside a file's name, such as who has locked it. */
  badge: (entry: Entry) => ReactNode;
  /** The items of an entry's menu. */
  menu: (entry: Entry) => ReactNode;
  /** The paths of the entries that are selected. */
  chosen: ReadonlySet<string>;
  /** Called to select an entry or not to; `isRange`: with all entries since the last one. */
  onChoose: (index: number, isRange: boolean) => void;
  onChooseAll: (isChosen: boolean) => void;
}

/** A folder's entries. Only the rows in view are in the document, so a million of them scroll as ten do. */
export function FileTable(props: Props) {
  const { bucket, entries, order, onOrder, onEnd, onDelete, badge, menu, chosen, onChoose, onChooseAll } = props;
  const texts = useTexts();
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: entries.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PIXELS,
    getItemKey: (index) => entries[index]?.path ?? index,
    overscan: 12,
  });
  const shown = rows.getVirtualItems();
  const last = shown.at(-1)?.index ?? -1;
  useEffect(() => {
    if (last >= entries.length - 50) onEnd();
  }, [last, entries.length, onEnd]);

  function focusRow(index: number) {
    const wanted = Math.max(0, Math.min(index, entries.length - 1));
    rows.scrollToIndex(wanted);
    requestAnimationFrame(() => {
      scroller.current?.querySelector<HTMLElement>(`[data-row="${wanted}"] .entry-name`)?.focus();
    });
  }

  function onKey(event: KeyboardEvent) {
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-row]');
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = Number(row.dataset.row);
    const targets: Record<string, number> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + 10,
      PageUp: index - 10,
      Home: 0,
      End: entries.length - 1,
    };
    const target = targets[event.key];
    const entry = entries[index];
    if (target !== undefined) focusRow(target);
    else if (event.key === 'Delete' && entry) onDelete(entry);
    else if (event.key === ' ' && entry && (event.target as HTMLElement).matches('.entry-name')) {
      if (isPackable(entry)) onChoose(index, event.shiftKey);
    }
    else return;
    event.preventDefault();
  }

  return (
    <div role="table" aria-rowcount={entries.length + 1} aria-label={texts.app.files} className="file-table">
      <div role="rowgroup" className="file-head">
        <div role="row" aria-rowindex={1} className="file-row">
          <div role="columnheader" className="cell-choice">
            <Choice
              label={texts.archives.selectAll}
              isChosen={chosen.size > 0 && chosen.size >= entries.filter(isPackable).length}
              isPartly={chosen.size > 0}
              onChange={() => onChooseAll(chosen.size === 0)}
            />
          </div>
          {COLUMNS.map((column) => (
            <div
              key={column}
              role="columnheader"
              className={`cell-${column}`}
              aria-sort={order.column !== column ? 'none' : order.descending ? 'descending' : 'ascending'}
            >
              <button type="button" className="sorter" onClick={() => onOrder(nextOrder(order, column))}>
                {texts.files.columns[column]}
                <span aria-hidden="true">{order.column !== column ? '' : order.descending ? ' ↓' : ' ↑'}</span>
              </button>
            </div>
          ))}
          <div role="columnheader" className="cell-actions">
            <span className="only-read">{texts.files.columns.actions}</span>
          </div>
        </div>
      </div>
      <div ref={scroller} role="rowgroup" className="file-rows" onKeyDown={onKey}>
        <div role="presentation" style={{ height: rows.getTotalSize(), position: 'relative' }}>
          {shown.map(({ index, key, start }) => {
            const entry = entries[index] as Entry;
            return (
              <div
                key={key}
                role="row"
                aria-rowindex={index + 2}
                data-row={index}
                className="file-row"
                style={{ position: 'absolute', inset: '0 0 auto', height: ROW_PIXELS, translate: `0 ${start}px` }}
              >
                <div role="cell" className="cell-choice">
                  {isPackable(entry) && (
                    <Choice
                      label={texts.archives.select(entry.name)}
                      isChosen={chosen.has(entry.path)}
                      onChange={(isRange) => onChoose(index, isRange)}
                    />
                  )}
                </div>
                <Row {...{ bucket, entry, badge, menu }} />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

interface ChoiceProps {
  label: string;
  isChosen: boolean;
  isPartly?: boolean;
  onChange: (isRange: boolean) => void;
}

/** A checkbox that is light enough for every row. */
function Choice({ label, isChosen, isPartly = false, onChange }: ChoiceProps) {
  return (
    <input
      type="checkbox"
      className="choice"
      aria-label={label}
      checked={isChosen}
      ref={(box) => {
        if (box) box.indeterminate = isPartly && !isChosen;
      }}
      onClick={(event: MouseEvent) => onChange(event.shiftKey)}
      onChange={() => undefined}
    />
  );
}

type RowProps = Pick<Props, 'bucket' | 'badge' | 'menu'> & { entry: Entry };

function Row({ bucket, entry, badge, menu }: RowProps) {
  const texts = useTexts();
  const isFile = entry.kind === 'file';
  return (
    <>
      <div role="cell" className="cell-name">
        {isFile ? <FileIcon /> : <FolderIcon />}
        <Name bucket={bucket} entry={entry} />
        {isFile && badge(entry)}
      </div>
      <div role="cell" className="cell-size">
        {isFile && entry.readable && sizeText(entry.size, texts.locale)}
      </div>
      <div role="cell" className="cell-changed">
        {isFile && timeText(entry.changed, texts.locale)}
      </div>
      <div role="cell" className="cell-author">
        {entry.author}
      </div>
      <div role="cell" className="cell-actions">
        <RowMenu name={entry.name}>{menu(entry)}</RowMenu>
      </div>
    </>
  );
}

function Name({ bucket, entry }: { bucket: string; entry: Entry }) {
  const texts = useTexts();
  if (entry.kind === 'folder') {
    return (
      <PlaceLink to={{ page: 'files', bucket, folder: entry.path }} className="entry-name">
        {entry.name}
      </PlaceLink>
    );
  }
  if (!entry.readable) {
    return (
      <span className="entry-name" tabIndex={0} title={texts.files.unreadable}>
        {entry.name}
      </span>
    );
  }
  return (
    <a className="entry-name" href={fileAddress(bucket, entry.path)} download={entry.name} title={entry.name}>
      {entry.name}
    </a>
  );
}
