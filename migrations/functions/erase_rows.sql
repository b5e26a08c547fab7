-- Deletes rows of a project under erasure, of our own tables at most p_limit each, and counts them in the same transaction. False while
-- there are more. p_columns: columns of project_versions to which submissions were written, which are emptied as well.
CREATE FUNCTION session_chain.erase_rows(p_erasure uuid, p_columns text[], p_limit integer) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_project text;
  v_table record;
  v_count bigint;
  v_counts jsonb;
  v_column text;
BEGIN
  SELECT e.project_id, e.counts INTO v_project, v_counts FROM session_chain.erasures e
    WHERE e.id = p_erasure AND e.finished_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN true;
  END IF;
  FOR v_column IN SELECT a.attname FROM pg_attribute a
      WHERE a.attrelid = 'project_versions'::regclass AND a.attname = ANY (p_columns) AND NOT a.attisdropped AND NOT a.attnotnull LOOP
    EXECUTE format('UPDATE project_versions SET %1$I = NULL WHERE project_id = session_chain.project_key($1) AND %1$I IS NOT NULL',
      v_column) USING v_project;
  END LOOP;
  FOR v_table IN SELECT * FROM session_chain.erased_tables() t ORDER BY t.n LOOP
    v_count := 0;
    BEGIN
      -- A project has few rows in the host's tables, and one of these may be a view, which has no ctid.
      EXECUTE format('%s WHERE %s %s',
        CASE WHEN v_table.action IS NULL THEN 'DELETE FROM ' || v_table.tab || ' x'
             ELSE 'UPDATE ' || v_table.tab || ' x SET ' || v_table.action END, v_table.condition,
        CASE WHEN v_table.tab LIKE 'session_chain.%' THEN
          format('AND x.ctid = ANY (ARRAY(SELECT x.ctid FROM %s x WHERE %s LIMIT $2))', v_table.tab, v_table.condition)
        END) USING v_project, p_limit;
      GET DIAGNOSTICS v_count = ROW_COUNT;
    EXCEPTION WHEN foreign_key_violation THEN
      IF NOT v_table.may_stay THEN
        RAISE;
      END IF;
    END;
    IF v_count > 0 THEN
      v_counts := v_counts || jsonb_build_object(v_table.kind, coalesce((v_counts ->> v_table.kind)::bigint, 0) + v_count);
      UPDATE session_chain.erasures e SET counts = v_counts WHERE e.id = p_erasure;
    END IF;
    IF v_count >= p_limit AND v_table.tab LIKE 'session_chain.%' THEN
      RETURN false;
    END IF;
  END LOOP;
  RETURN true;
END
$$;
