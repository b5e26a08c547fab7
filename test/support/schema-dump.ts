import type { Pool } from '../../storage/db/pool.js';

/**
 * The whole schema as text, in one order whatever the history: tables with columns, constraints, indexes and triggers, sequences, views, range
 * types, functions with their bodies.
 */
export async function dumpSchema(pool: Pool): Promise<string> {
  const { rows: tables } = await pool.query<{ oid: number; name: string; comment: string | null }>(`
    SELECT c.oid, n.nspname || '.' || c.relname AS name, obj_description(c.oid, 'pg_class') AS comment
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('public', 'session_chain') AND c.relname <> 'migrations' ORDER BY 2`);
  const parts = [];
  for (const table of tables) parts.push(await dumpTable(pool, table));
  const { rows: sequences } = await pool.query<{ name: string }>(`
    SELECT s.schemaname || '.' || s.sequencename AS name FROM pg_sequences s
    WHERE s.schemaname = 'session_chain' AND s.sequencename NOT LIKE '%\\_seq' ORDER BY 1`);
  const { rows: ranges } = await pool.query<{ name: string }>(`
    SELECT r.rngtypid::regtype || ' of ' || r.rngsubtype::regtype || ' collate ' || c.collname AS name
    FROM pg_range r JOIN pg_type t ON t.oid = r.rngtypid JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_collation c ON c.oid = r.rngcollation WHERE n.nspname = 'session_chain' ORDER BY 1`);
  const { rows: views } = await pool.query<{ name: string }>(`
    SELECT v.schemaname || '.' || v.viewname || E'\n' || v.definition AS name FROM pg_views v
    WHERE v.schemaname IN ('public', 'session_chain') ORDER BY 1`);
  const { rows: functions } = await pool.query<{ definition: string }>(`
    SELECT pg_get_functiondef(p.oid) AS definition
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'session_chain'
      AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'internal') ORDER BY p.oid::regprocedure::text`);
  return [
    ...parts,
    ...sequences.map(({ name }) => `sequence ${name}\n`),
    ...views.map(({ name }) => `view ${name}\n`),
    ...ranges.map(({ name }) => `range ${name}\n`),
    ...functions.map(({ definition }) => definition),
  ].join('\n');
}

async function dumpTable(
  pool: Pool,
  { oid, name, comment }: { oid: number; name: string; comment: string | null },
) {
  const lines = async (query: string) =>
    (await pool.query<{ line: string }>(query, [oid])).rows.map(({ line }) => `  ${line}`);
  return [
    `table ${name}${comment ? ` -- ${comment}` : ''}`,
    ...(await lines(`
      SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
        || CASE WHEN a.attidentity <> '' THEN ' identity' WHEN a.attgenerated <> '' THEN ' generated ' || pg_get_expr(d.adbin, d.adrelid)
           WHEN d.adbin IS NOT NULL THEN ' default ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END
        || coalesce(' -- ' || col_description(a.attrelid, a.attnum), '') AS line
      FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname`)),
    ...(await lines(`
      SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) AS line
      FROM pg_constraint WHERE conrelid = $1 AND contype <> 'n' ORDER BY conname`)),
    ...(await lines(`
      SELECT pg_get_indexdef(i.indexrelid) AS line FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indrelid = $1 AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u'))
      ORDER BY c.relname`)),
    ...(await lines(`
      SELECT pg_get_triggerdef(t.oid) AS line FROM pg_trigger t WHERE t.tgrelid = $1 AND NOT t.tgisinternal ORDER BY t.tgname`)),
    '',
  ].join('\n');
}
