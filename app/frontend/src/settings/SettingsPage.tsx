import type { ReactNode } from 'react';
import { useQuery } from '@tanstack/react-query';
import { releaseQuery } from '../api/queries';
import { Page } from '../shell/Page';
import { Answer } from '../ui/Answer';
import { Panel } from '../ui/Panel';
import { changeSettings, THEMES, useSettings, type Settings } from './settings';
import styles from './SettingsPage.module.css';

const THEME_LABELS: Record<Settings['theme'], string> = { system: 'As the system', light: 'Light', dark: 'Dark' };

export default function SettingsPage() {
  const { theme, lessMotion, live } = useSettings();
  const release = useQuery(releaseQuery);
  return (
    <Page title="Settings">
      <div className={styles.panels}>
        <Panel title="Appearance">
          <fieldset className={styles.themes}>
            <legend>Theme</legend>
            {THEMES.map((one) => (
              <label key={one}>
                <input
                  type="radio"
                  name="theme"
                  value={one}
                  checked={theme === one}
                  onChange={() => {
                    changeSettings({ theme: one });
                  }}
                />
                {THEME_LABELS[one]}
              </label>
            ))}
          </fieldset>
          <Switch
            label="Less motion"
            on={lessMotion}
            onChange={(on) => {
              changeSettings({ lessMotion: on });
            }}
          >
            Nothing slides or fades, even where the system does not ask for it.
          </Switch>
        </Panel>
        <Panel title="Data">
          <Switch
            label="Live updates"
            on={live}
            onChange={(on) => {
              changeSettings({ live: on });
            }}
          >
            What others change appears by itself. Off, it appears with “Refresh”, and when you come back after a minute.
          </Switch>
        </Panel>
        <Panel title="About">
          <dl className={styles.about}>
            <dt>Application</dt>
            <dd>Sixty Sales Dashboard</dd>
            <dt>Release</dt>
            <dd>
              <Answer query={release} name="the release" skeleton={{ lines: 1 }} inline>
                {(data) => <code>{data.release}</code>}
              </Answer>
            </dd>
            <dt>Licence</dt>
            <dd>GPL-3.0-or-later</dd>
          </dl>
          <p className={styles.note}>Settings are kept in this browser.</p>
        </Panel>
      </div>
    </Page>
  );
}

interface SwitchProps {
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
  children: ReactNode;
}

function Switch({ label, on, onChange, children }: SwitchProps) {
  return (
    <label className={styles.switch}>
      <input
        type="checkbox"
        role="switch"
        checked={on}
        onChange={(event) => {
          onChange(event.target.checked);
        }}
      />
      <span>
        {label}
        <small>{children}</small>
      </span>
    </label>
  );
}
