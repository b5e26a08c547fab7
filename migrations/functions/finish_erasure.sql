-- Ends an erasure with its certificate, where no row of the project is left that it should have deleted; false where one
-- is. p_left is what stays of every project, as [{what, why}], and p_later what no delete reaches at once, as
-- [{what, until}]; what was noted of this one is added, and rows in tables of the host.
CREATE FUNCTION session_chain.finish_erasure(p_erasure uuid, p_left jsonb, p_later jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_project text;
  v_notes jsonb;
  v_left jsonb;
  v_count bigint;
  v_host record;
BEGIN
  SELECT e.project_id, e.notes INTO v_project, v_notes FROM session_chain.erasures e WHERE e.id = p_erasure AND e.finished_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN true;
  END IF;
  IF session_chain.count_erased(v_project, false) <> '{}' THEN
    RETURN false;
  END IF;
  v_left := (SELECT coalesce(jsonb_agg(l), '[]') FROM jsonb_each(v_notes) n (kind, note), jsonb_array_elements(n.note -> 'left') l);
  FOR v_host IN SELECT * FROM (VALUES
      ('projects', 'project_id = session_chain.project_key($1)'),
      ('project_versions', 'project_id = session_chain.project_key($1)'),
      ('session_transitions', 'project_id = session_chain.transition_project_key($1)'),
      ('project_ai_session_metrics', 'project_id::text = $1'),
      ('chat_plan_sessions', 'project_id::text = $1'),
      ('project_chat_log_minimal', 'project_id = session_chain.chat_log_project_key($1)')) AS h (tab, condition) LOOP
    EXECUTE format('SELECT count(*) FROM %s WHERE %s', v_host.tab, v_host.condition) INTO v_count USING v_project;
    IF v_count > 0 THEN
      v_left := v_left || jsonb_build_object('what', format('%s of %s', CASE v_count WHEN 1 THEN '1 row' ELSE v_count || ' rows' END, v_host.tab),
        'why', CASE WHEN (SELECT i.owns_host_tables FROM session_chain.installation i)
          THEN 'Another table of the application refers to it; what Session Chain wrote to it is gone.'
          ELSE 'The application created this table; what Session Chain wrote to it is gone.' END);
    END IF;
  END LOOP;
  UPDATE session_chain.erasures e SET finished_at = clock_timestamp(), notes = '{}',
      certificate = jsonb_build_object('left', v_left || p_left, 'later', p_later || (
        SELECT coalesce(jsonb_agg(l), '[]') FROM jsonb_each(v_notes) n (kind, note), jsonb_array_elements(n.note -> 'later') l))
    WHERE e.id = p_erasure;
  RETURN true;
END
$$;
