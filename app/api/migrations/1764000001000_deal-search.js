export const down = false;

// pg_trgm is a trusted extension: the owner of the database may create it, no superuser is needed.
export const up = (pgm) => {
  pgm.sql(`
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    ALTER TABLE deals ADD COLUMN search_text text NOT NULL
      GENERATED ALWAYS AS (lower(name || ' ' || company || ' ' || owner)) STORED;
    CREATE INDEX deals_search ON deals USING gin (search_text gin_trgm_ops);
  `);
};
