import { createContext, type ReactNode, useContext } from 'react';

const Columns = createContext<readonly string[]>([]);

interface Props {
  label: string;
  columns: readonly string[];
  children: ReactNode;
}

/** A table that a narrow window shows as a list: there each value has its column's name in front. */
export function DataTable({ label, columns, children }: Props) {
  return (
    <div className="data-table" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Columns value={columns}>{children}</Columns>
        </tbody>
      </table>
    </div>
  );
}

interface RowProps {
  /** A value for each column; the first is what the row is about. */
  cells: readonly ReactNode[];
  /** What can be done with it, for the last column. */
  actions?: ReactNode;
}

/** A row of a DataTable. */
export function DataRow({ cells, actions }: RowProps) {
  const columns = useContext(Columns);
  const [first, ...others] = cells;
  return (
    <tr>
      <th scope="row" className="breakable">
        {first}
      </th>
      {others.map((cell, index) => {
        const name = columns[index + 1];
        return (
          <td key={name} data-label={name} data-empty={cell === '' || undefined}>
            {cell}
          </td>
        );
      })}
      {actions !== undefined && <td className="row-actions">{actions}</td>}
    </tr>
  );
}
