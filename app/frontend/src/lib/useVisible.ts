import { useEffect, useState, type RefObject } from 'react';

/** Whether the element has been on screen at least once. */
export function useVisible(ref: RefObject<Element | null>): boolean {
  const [visible, setVisible] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (element === null || visible) return;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) setVisible(true);
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
    };
  }, [ref, visible]);
  return visible;
}
