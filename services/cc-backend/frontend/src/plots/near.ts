/** Says of elements whether they are within 400 px of the screen: plots are built when they come near and destroyed when they leave. */
export type Near = (el: Element, told: (near: boolean) => void) => () => void;

export function makeNear(): Near {
  const listeners = new WeakMap<Element, (near: boolean) => void>();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const e of entries) listeners.get(e.target)?.(e.isIntersecting);
    },
    { rootMargin: "400px" },
  );
  return (el, told) => {
    listeners.set(el, told);
    observer.observe(el);
    return () => observer.unobserve(el);
  };
}
