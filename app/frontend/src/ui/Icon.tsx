const PATHS = {
  plus: 'M8 3v10M3 8h10',
  refresh: 'M13 8a5 5 0 1 1-1.5-3.6M13 2.5v3h-3',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.8 10.8 14 14',
  close: 'm4 4 8 8M12 4l-8 8',
  up: 'M8 12.5v-9M4.5 7 8 3.5 11.5 7',
  down: 'M8 3.5v9M4.5 9 8 12.5 11.5 9',
  chevron: 'm4.5 6.5 3.5 3.5 3.5-3.5',
  left: 'M9.5 4.5 6 8l3.5 3.5',
  right: 'M6.5 4.5 10 8l-3.5 3.5',
  overview: 'M2.5 13.5h11M4.5 11V8M8 11V4M11.5 11V6',
  deals: 'M2.5 4h11M2.5 8h11M2.5 12h11',
  activities: 'M8 4.5V8l2.5 1.5M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z',
  settings: 'M2 5h6M12 5h2M2 11h2M8 11h6M12 5a2 2 0 1 1-4 0 2 2 0 0 1 4 0ZM8 11a2 2 0 1 1-4 0 2 2 0 0 1 4 0Z',
  scroll: 'M8 2v12M5 11l3 3 3-3M5 5l3-3 3 3',
  board: 'M2.5 3h3v10h-3ZM6.5 3h3v7h-3ZM10.5 3h3v4h-3Z',
  grip: 'M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01',
  call: 'M5.5 2.5h-2a1 1 0 0 0-1 1c0 5.5 4.5 10 10 10a1 1 0 0 0 1-1v-2l-3-1.2-1.3 1.5C7.2 9.9 6.1 8.8 5.2 6.8l1.5-1.3Z',
  email: 'M2 3.5h12v9H2ZM2 4l6 5 6-5',
  meeting: 'M8 8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM3 13.5c.6-2 2.5-3 5-3s4.4 1 5 3',
  note: 'M3.5 2.5h9v8l-3 3h-6ZM6 6h4M6 9h2.5',
  task: 'm5 8 2.2 2.2L11 6M2.5 2.5h11v11h-11Z',
  stage_change: 'M2.5 8h11M9.5 4l4 4-4 4',
} as const;

export type IconName = keyof typeof PATHS;

interface IconProps {
  name: IconName;
  className?: string | undefined;
}

/** Always beside or inside something that has a name of its own. */
export function Icon({ name, className }: IconProps) {
  return (
    <svg
      className={className}
      width="16"
      height="16"
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
