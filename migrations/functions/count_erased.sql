-- How many rows an erasure of the project would delete or empty, by kind; those of no kind that has any are not there.
-- p_may_stay: also rows that stay where a table of the host refers to them.
CREATE FUNCTION session_chain.count_erased(p_project text, p_may_stay boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_table record;
  v_counts jsonb := '{}';
  v_count bigint;
BEGIN
  FOR v_table IN SELECT * FROM session_chain.erased_tables() t WHERE p_may_stay OR NOT t.may_stay ORDER BY t.n LOOP
    EXECUTE format('SELECT count(*) FROM %s x WHERE %s', v_table.tab, v_table.condition) INTO v_count USING p_project;
    IF v_count > 0 THEN
      v_counts := v_counts || jsonb_build_object(v_table.kind, v_count);
    END IF;
  END LOOP;
  RETURN v_counts;
END
$$;
