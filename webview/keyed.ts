/**
 * Makes `container` hold one element per item, in order, keyed by id. Elements that stay are neither replaced nor
 * moved without need, so that focus, selection and scroll position stay where they are. With `first`, an element of
 * the container that is not keyed, they come after it.
 */
export function keyed<T extends { id: string }, V extends { element: Element }>(
  container: Element,
  views: Map<string, V>,
  items: readonly T[],
  create: (item: T) => V,
  update: (view: V, item: T) => void,
  first?: Element,
): void {
  const wanted = new Set(items.map((item) => item.id));
  for (const [id, view] of views) {
    if (wanted.has(id)) continue;
    view.element.remove();
    views.delete(id);
  }
  let previous: Element | undefined;
  for (const item of items) {
    let view = views.get(item.id);
    if (!view) {
      view = create(item);
      views.set(item.id, view);
    }
    const inPlace = view.element.parentNode === container && elementBefore(view.element, views) === previous;
    if (!inPlace) {
      const before = previous ?? first;
      if (before) before.after(view.element);
      else container.prepend(view.element);
    }
    update(view, item);
    previous = view.element;
  }
}

/** The nearest element before `element` that is one of ours; components may add nodes of their own. */
function elementBefore(element: Element, views: ReadonlyMap<string, { element: Element }>): Element | undefined {
  const ours = new Set([...views.values()].map((view) => view.element));
  for (let at = element.previousElementSibling; at; at = at.previousElementSibling) if (ours.has(at)) return at;
  return undefined;
}

/** Sets text without touching the node when it is the same, so that a selection in it stays. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets or removes an attribute, without a mutation when it is the same. */
export function setAttribute(element: Element, name: string, value: string | undefined): void {
  if (value === undefined || value === '') {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Shows or hides. */
export function show(element: HTMLElement, visible: boolean): void {
  if (element.hidden === visible) element.hidden = !visible;
}

/** An element with a class and, perhaps, text. */
export function make(tag: string, className = '', text = ''): HTMLElement {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  if (text !== '') element.textContent = text;
  return element;
}
