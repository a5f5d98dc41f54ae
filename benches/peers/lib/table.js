// A Markdown table.

export function table(columns, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const full = rows.map((row) => [...row, ...Array(columns.length - row.length).fill('')]);
  return [line(columns), line(columns.map(() => '---')), ...full.map(line)].join('\n');
}
