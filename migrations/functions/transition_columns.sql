-- The columns of session_transitions that are written: whether the archive has one of its own for it, and else what a row
-- that does not know it gets. A time that is not a timestamptz is kept as it is written.
CREATE FUNCTION session_chain.transition_columns() RETURNS TABLE (name text, type text, is_ours boolean, by_default text)
LANGUAGE sql STABLE AS $$
  SELECT c.attname, format_type(c.atttypid, c.atttypmod),
    c.attname = ANY ('{id,project_id,version_id,old_session_id,new_session_id,source,seq,prev_seq,parent_session_id,step,attempt_id,rewound_to}')
      OR (c.attname = 'created_at' AND c.atttypid = 'timestamptz'::regtype),
    coalesce(pg_get_expr(d.adbin, d.adrelid), 'NULL')
  FROM pg_attribute c LEFT JOIN pg_attrdef d ON d.adrelid = c.attrelid AND d.adnum = c.attnum
  WHERE c.attrelid = 'session_transitions'::regclass AND c.attnum > 0 AND NOT c.attisdropped AND c.attgenerated = ''
$$;
