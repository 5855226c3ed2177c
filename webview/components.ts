import {
  provideVSCodeDesignSystem,
  vsCodeButton,
  vsCodeDataGrid,
  vsCodeDataGridCell,
  vsCodeDataGridRow,
  vsCodeDivider,
  vsCodeLink,
  vsCodeProgressRing,
} from '@vscode/webview-ui-toolkit';

/**
 * The only place that knows the component library: another one is put in here. It registers at once, because the
 * library listens for theme changes from the window's `load` event on.
 */
provideVSCodeDesignSystem().register(
  vsCodeButton(),
  vsCodeDataGrid(),
  vsCodeDataGridRow(),
  vsCodeDataGridCell(),
  vsCodeDivider(),
  vsCodeLink(),
  vsCodeProgressRing(),
);

/** A button. `icon` is never used alone: every button has its word. */
export function button(appearance: 'primary' | 'secondary', onClick: () => void): HTMLElement {
  const element = document.createElement('vscode-button');
  element.setAttribute('appearance', appearance);
  element.addEventListener('click', () => {
    if (element.getAttribute('aria-disabled') !== 'true') onClick();
  });
  return element;
}

/** Disables a button without taking the focus from it: a real `disabled` would drop it. */
export function setEnabled(element: HTMLElement, enabled: boolean): void {
  if (enabled) element.removeAttribute('aria-disabled');
  else element.setAttribute('aria-disabled', 'true');
}

/** A link that VS Code opens outside; nothing but https is let through. */
export function link(href: string): HTMLElement {
  const element = document.createElement('vscode-link');
  if (href.startsWith('https://')) element.setAttribute('href', href);
  return element;
}

/** A line between two sections. */
export function divider(): HTMLElement {
  return document.createElement('vscode-divider');
}

/** A progress ring that does not interrupt screen readers: the page has a live region of its own for that. */
export function progressRing(label: string): HTMLElement {
  const element = document.createElement('vscode-progress-ring');
  const calm = (): void => {
    element.setAttribute('role', 'progressbar');
    element.setAttribute('aria-label', label);
    element.removeAttribute('aria-live');
  };
  // The component sets an assertive alert when it is connected.
  queueMicrotask(calm);
  requestAnimationFrame(calm);
  return element;
}

/** A grid whose rows are made once and then changed in place: setting `rowsData` would move the focus. */
export function dataGrid(columns: string): HTMLElement {
  const element = document.createElement('vscode-data-grid');
  element.setAttribute('generate-header', 'none');
  element.setAttribute('grid-template-columns', columns);
  return element;
}

/** A row of {@link dataGrid} with its cells. */
export function gridRow(cells: number, header = false): { row: HTMLElement; cells: HTMLElement[] } {
  const row = document.createElement('vscode-data-grid-row');
  if (header) row.setAttribute('row-type', 'header');
  const made = Array.from({ length: cells }, (_, index) => {
    const cell = document.createElement('vscode-data-grid-cell');
    cell.setAttribute('grid-column', String(index + 1));
    if (header) cell.setAttribute('cell-type', 'columnheader');
    row.append(cell);
    return cell;
  });
  return { row, cells: made };
}
